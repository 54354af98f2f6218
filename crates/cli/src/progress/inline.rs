//! Images between the lines of a terminal: the graphics protocol of kitty, inline images of iTerm2, and sixel.
//!
//! The terminal is known by its environment. Asking it would put it into raw mode, and one that does not answer costs a wait.

use std::env;
use std::fmt::Write as _;
use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use icy_sixel::{DiffusionMethod, MethodForLargest, MethodForRep, PixelFormat, Quality, sixel_string};
use image::{ImageFormat, RgbImage};

/// Characters of base64 in one command of kitty, which allows no more.
const KITTY_CHUNK: usize = 4096;

/// How a terminal is given an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// PNG in commands of at most 4096 characters.
    Kitty,
    /// A whole PNG file in one command.
    Iterm2,
    /// Bands of six rows of pixels.
    Sixel,
}

impl Protocol {
    /// That of this terminal; `None` where it is not known to have one.
    pub fn of_terminal() -> Option<Self> {
        Self::of(|name| env::var(name).ok())
    }

    fn of(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let text = |name: &str| variable(name).unwrap_or_default();
        let (term, program) = (text("TERM"), text("TERM_PROGRAM"));
        let begins = |names: &[&str]| names.iter().any(|name| term.starts_with(name));
        // tmux and screen pass nothing on unless told to, and stay inside what they run in.
        if variable("TMUX").is_some() || begins(&["tmux", "screen"]) {
            return None;
        }
        if variable("KITTY_WINDOW_ID").is_some()
            || begins(&["xterm-kitty", "xterm-ghostty"])
            || program == "ghostty"
            || variable("KONSOLE_VERSION").is_some()
        {
            return Some(Self::Kitty);
        }
        if ["iTerm.app", "WezTerm", "mintty"].contains(&program.as_str()) || text("LC_TERMINAL") == "iTerm2" {
            return Some(Self::Iterm2);
        }
        (variable("WT_SESSION").is_some() || begins(&["foot", "mlterm", "contour"])).then_some(Self::Sixel)
    }

    /// What to write to the terminal to show `image` at the cursor, `lines` lines high; sixel is shown in its own pixels.
    /// `None` where the image cannot be encoded.
    pub fn encode(self, image: &RgbImage, lines: u32) -> Option<String> {
        if self == Self::Sixel {
            return sixel(image);
        }
        let mut png = Vec::new();
        image.write_to(&mut Cursor::new(&mut png), ImageFormat::Png).ok()?;
        let data = STANDARD.encode(png);
        Some(if self == Self::Kitty {
            kitty(&data, lines)
        } else {
            format!("\x1b]1337;File=inline=1;height={lines};preserveAspectRatio=1:{data}\x07\n")
        })
    }
}

fn kitty(data: &str, lines: u32) -> String {
    let mut text = String::new();
    let count = data.len().div_ceil(KITTY_CHUNK);
    for (at, chunk) in data.as_bytes().chunks(KITTY_CHUNK).enumerate() {
        // The terminal is not to answer (q=2): nobody reads that.
        let first = if at == 0 { format!("a=T,f=100,q=2,r={lines},") } else { String::new() };
        let more = u8::from(at + 1 < count);
        let _ = write!(text, "\x1b_G{first}m={more};{}\x1b\\", String::from_utf8_lossy(chunk));
    }
    text.push('\n');
    text
}

fn sixel(image: &RgbImage) -> Option<String> {
    let side = |side: u32| i32::try_from(side).ok();
    let text = sixel_string(
        image.as_raw(),
        side(image.width())?,
        side(image.height())?,
        PixelFormat::RGB888,
        DiffusionMethod::Auto,
        MethodForLargest::Auto,
        MethodForRep::Auto,
        Quality::AUTO,
    );
    text.ok().map(|text| text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Option<Protocol> {
        Protocol::of(|name| {
            variables.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn terminals_are_known_by_their_environment() {
        assert_eq!(of(&[("TERM", "xterm-kitty")]), Some(Protocol::Kitty));
        assert_eq!(of(&[("TERM", "xterm-256color"), ("KONSOLE_VERSION", "230800")]), Some(Protocol::Kitty));
        assert_eq!(of(&[("TERM", "xterm-256color"), ("TERM_PROGRAM", "iTerm.app")]), Some(Protocol::Iterm2));
        assert_eq!(of(&[("TERM", "xterm-256color"), ("LC_TERMINAL", "iTerm2")]), Some(Protocol::Iterm2));
        assert_eq!(of(&[("TERM", "foot")]), Some(Protocol::Sixel));
        assert_eq!(of(&[("TERM", "xterm-256color"), ("WT_SESSION", "1")]), Some(Protocol::Sixel));
        assert_eq!(of(&[("TERM", "xterm-256color")]), None);
        assert_eq!(of(&[("TERM", "xterm-kitty"), ("TMUX", "/tmp/tmux-0/default")]), None);
        assert_eq!(of(&[("TERM", "screen-256color"), ("TERM_PROGRAM", "iTerm.app")]), None);
    }

    /// A PNG of noise, which takes several chunks.
    fn image() -> RgbImage {
        let mut state = 1u32;
        RgbImage::from_fn(64, 48, |_, _| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let [_, r, g, b] = state.to_le_bytes();
            image::Rgb([r, g, b])
        })
    }

    fn decoded(data: &str) -> RgbImage {
        let png = STANDARD.decode(data).unwrap();
        image::load_from_memory_with_format(&png, ImageFormat::Png).unwrap().into_rgb8()
    }

    #[test]
    fn kitty_gets_the_image_in_chunks() {
        let text = Protocol::Kitty.encode(&image(), 4).unwrap();
        let commands: Vec<&str> = text
            .trim_end()
            .split_terminator("\x1b\\")
            .map(|one| one.strip_prefix("\x1b_G").unwrap())
            .collect();
        assert!(commands.len() > 1);
        let (keys, chunks): (Vec<&str>, Vec<&str>) =
            commands.iter().map(|one| one.split_once(';').unwrap()).unzip();
        assert_eq!(keys[0], "a=T,f=100,q=2,r=4,m=1");
        assert_eq!(keys[keys.len() - 1], "m=0");
        assert!(keys[1..keys.len() - 1].iter().all(|one| *one == "m=1"));
        assert!(chunks.iter().all(|one| one.len() <= KITTY_CHUNK));
        assert_eq!(decoded(&chunks.concat()), image());
    }

    #[test]
    fn iterm2_gets_one_file() {
        let text = Protocol::Iterm2.encode(&image(), 4).unwrap();
        let (keys, data) = text.split_once(':').unwrap();
        assert_eq!(keys, "\x1b]1337;File=inline=1;height=4;preserveAspectRatio=1");
        assert_eq!(decoded(data.strip_suffix("\x07\n").unwrap()), image());
    }

    #[test]
    fn sixel_is_one_control_string() {
        let text = Protocol::Sixel.encode(&image(), 4).unwrap();
        assert!(text.starts_with("\x1bP") && text.ends_with("\x1b\\\n"), "{text:?}");
        // Eight bands of six rows, the last one without a line feed or with it.
        assert!((7..=8).contains(&text.matches('-').count()));
    }
}
