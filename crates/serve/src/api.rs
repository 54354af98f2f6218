//! What can be asked for. Every handler answers with JSON, an image, or a file of the page.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Query, Request, State as Shared};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router, middleware};
use noisefind_page::{ImageKey, ImageSize, RunId, RunView, Summary, assets, read_image, read_run};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt};

use crate::command::{Command, Shown, Work};
use crate::error::Refusal;
use crate::events::{Beginning, Happened};
use crate::guard::{COOKIE_NAME, guard, knows_token};
use crate::jobs::{Job, Jobs};
use crate::state::State;
use crate::watcher::look;

/// Most bytes of a form.
const FORM_BYTES: usize = 64 << 10;
/// Time in which a form must have arrived.
const FORM_SECONDS: u64 = 10;
/// What a browser may keep for ever, because its address changes with its content.
const FOR_EVER: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

type Answer<T> = Result<T, Refusal>;

/// Everything, behind the guard.
pub(crate) fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/run/{id}", get(index))
        .route("/compare", get(index))
        .route("/start", get(index))
        .route("/assets/{version}/{name}", get(asset))
        .route("/api/session", post(session))
        .route("/api/runs", get(runs))
        .route("/api/runs/{id}", get(run))
        .route("/api/runs/{id}/images/{key}", get(image))
        .route("/api/events", get(events))
        .route("/api/command", post(command))
        .route("/api/jobs", get(jobs).post(start))
        .route("/api/jobs/{id}", delete(cancel))
        .fallback(nothing)
        .layer(middleware::from_fn_with_state(state.clone(), guard))
        .with_state(state)
}

async fn nothing() -> Refusal {
    Refusal::not_found("page")
}

async fn index() -> Response {
    ([(CONTENT_TYPE, "text/html; charset=utf-8")], [(CACHE_CONTROL, ASK_AGAIN)], assets::INDEX.as_str())
        .into_response()
}

async fn asset(Path((version, name)): Path<(String, String)>) -> Answer<Response> {
    let asset = assets::asset(&name).ok_or_else(|| Refusal::not_found("file"))?;
    // A page of another version of the program gets what there is, but must not cache it under its own address.
    let keep = if version == *assets::VERSION { FOR_EVER } else { ASK_AGAIN };
    Ok(([(CONTENT_TYPE, asset.mime)], [(CACHE_CONTROL, keep)], asset.bytes).into_response())
}

/// Gives the page that knows the token the cookie that its images and events need.
async fn session(Shared(state): Shared<Arc<State>>, headers: HeaderMap) -> Answer<Response> {
    authorised(&state, &headers)?;
    let cookie = format!("{COOKIE_NAME}={}; HttpOnly; SameSite=Strict; Path=/", state.cookie);
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]).into_response())
}

async fn runs(Shared(state): Shared<Arc<State>>) -> Answer<Json<Vec<Summary>>> {
    blocking(move || {
        look(&state);
        Ok(Json(state.catalogue().summaries()))
    })
    .await
}

async fn run(Shared(state): Shared<Arc<State>>, Path(id): Path<String>) -> Answer<Json<RunView>> {
    blocking(move || {
        let id = run_id(&id)?;
        let found = {
            let catalogue = state.catalogue();
            catalogue.folder(id).zip(catalogue.summary(id).cloned())
        };
        let (folder, summary) = found.ok_or_else(|| Refusal::not_found("run"))?;
        let view = folder.and_then(|folder| read_run(&folder, summary));
        view.map(Json).map_err(|_| Refusal::not_found("run"))
    })
    .await
}

#[derive(Deserialize)]
struct ImageQuery {
    size: Option<String>,
    /// Changes with the content; its value does not matter.
    v: Option<String>,
}

async fn image(
    Shared(state): Shared<Arc<State>>,
    Path((id, key)): Path<(String, String)>,
    Query(query): Query<ImageQuery>,
) -> Answer<Response> {
    let size = match query.size.as_deref() {
        None => ImageSize::Full,
        Some("thumbnail") => ImageSize::Thumbnail,
        Some("strip") => ImageSize::Strip,
        Some(_) => return Err(Refusal::bad("size is thumbnail or strip")),
    };
    let keep = if query.v.is_some() { FOR_EVER } else { ASK_AGAIN };
    let image = blocking(move || {
        let key = key.parse::<ImageKey>().map_err(|()| Refusal::not_found("image"))?;
        let id = run_id(&id)?;
        let found = {
            let catalogue = state.catalogue();
            catalogue.folder(id).zip(
                catalogue.summary(id).and_then(|summary| summary.started.clone().or(Some(String::new()))),
            )
        };
        let (folder, started) = found.ok_or_else(|| Refusal::not_found("run"))?;
        // A folder in which another run was started has other images.
        let name = format!("{id}/{key}/{size:?}/{started}");
        let images = || state.images.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(image) = images().get(&name) {
            return Ok(image);
        }
        let read = folder.and_then(|folder| read_image(&folder, key, size));
        let image = Arc::new(read.map_err(|error| match error {
            noisefind_page::Error::Image { .. } => {
                Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
            }
            _ => Refusal::not_found("image"),
        })?);
        if size != ImageSize::Full {
            images().put(name, image.clone());
        }
        Ok(image)
    })
    .await?;
    let bytes = Bytes::copy_from_slice(&image.bytes);
    Ok(([(CONTENT_TYPE, image.mime)], [(CACHE_CONTROL, keep)], bytes).into_response())
}

#[derive(Deserialize)]
struct EventsQuery {
    /// In place of the header, for a page that begins anew by itself.
    last: Option<String>,
}

async fn events(
    Shared(state): Shared<Arc<State>>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let header = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let Beginning { reset, last, missed, receiver } = state.events.begin(header.or(query.last).as_deref());
    let id = |number: u64| state.events.id(number);
    let first = Event::default()
        .event(if reset { "reset" } else { "begin" })
        .data("{}")
        .retry(Duration::from_secs(1));
    // What was missed comes after, so the number that a client remembers is that of the last one it has.
    let first = match missed.first() {
        Some(event) => first.id(id(event.number - 1)),
        None => first.id(id(last)),
    };
    let missed = missed.iter().map(|event| of(event, &id(event.number))).collect::<Vec<_>>();
    let shared = state.clone();
    let coming = BroadcastStream::new(receiver).map(move |happened| match happened {
        Ok(event) => of(&event, &shared.events.id(event.number)),
        // This client was too slow; it reads everything anew.
        Err(_) => Event::default().event("reset").data("{}"),
    });
    let all = tokio_stream::once(first).chain(tokio_stream::iter(missed)).chain(coming).map(Ok);
    Sse::new(all).keep_alive(KeepAlive::new().interval(Duration::from_secs(10)))
}

fn of(happened: &Happened, id: &str) -> Event {
    Event::default().event(happened.kind).id(id).data(&happened.data)
}

/// Shows the command that a form stands for; starts nothing.
async fn command(Shared(state): Shared<Arc<State>>, request: Request) -> Answer<Json<Shown>> {
    let work = form(request).await?;
    blocking(move || Ok(Json(command_of(&state, &work)?.shown()))).await
}

async fn jobs(Shared(state): Shared<Arc<State>>) -> Json<Vec<Job>> {
    Json(state.jobs.list())
}

async fn start(
    Shared(state): Shared<Arc<State>>,
    headers: HeaderMap,
    request: Request,
) -> Answer<(StatusCode, Json<Job>)> {
    authorised(&state, &headers)?;
    let work = form(request).await?;
    let shared = state.clone();
    let command = blocking(move || {
        look(&shared);
        command_of(&shared, &work)
    })
    .await?;
    Ok((StatusCode::CREATED, Json(Jobs::start(&state, &command)?)))
}

async fn cancel(
    Shared(state): Shared<Arc<State>>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    authorised(&state, &headers)?;
    let id = id.parse().map_err(|_| Refusal::not_found("job"))?;
    Jobs::cancel(&state, id)?;
    Ok(StatusCode::NO_CONTENT)
}

fn command_of(state: &State, work: &Work) -> Answer<Command> {
    let listed = state.catalogue().summaries();
    let next = |run: &Summary| {
        let view = state.catalogue().run(run.id).and_then(Result::ok);
        let sampled = view.map(|view| view.sampled).unwrap_or_default();
        let call = sampled.iter().map(|one| one.call).max().unwrap_or_default() + 1;
        let seeds = sampled.iter().filter_map(|one| one.seed.parse::<u64>().ok());
        (call, seeds.max().map_or(0, |seed| seed.saturating_add(1)))
    };
    state.jobs.program.command(work, &listed, next)
}

fn authorised(state: &State, headers: &HeaderMap) -> Answer<()> {
    if knows_token(state, headers) {
        return Ok(());
    }
    let reason = "this page does not know the token; open the address that `noisefind serve` printed";
    Err(Refusal::new(StatusCode::UNAUTHORIZED, reason))
}

fn run_id(text: &str) -> Answer<RunId> {
    text.parse().map_err(|()| Refusal::not_found("run"))
}

/// The JSON in the body; another page cannot send this type without asking first.
async fn form<T: DeserializeOwned>(request: Request<Body>) -> Answer<T> {
    let is_json = request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    if !is_json {
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "expected application/json"));
    }
    let body = to_bytes(request.into_body(), FORM_BYTES);
    let body = tokio::time::timeout(Duration::from_secs(FORM_SECONDS), body).await;
    let body = body.map_err(|_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "the form did not arrive"))?;
    let body =
        body.map_err(|_| Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the form is too large or broken off"))?;
    serde_json::from_slice(&body)
        .map_err(|error| Refusal::bad(format!("the form is not understood: {error}")))
}

/// Work that reads files, away from the threads that serve.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Answer<T> + Send + 'static) -> Answer<T> {
    let failed = |_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "this could not be read");
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}
