"""Scores images with any OpenAI-compatible endpoint that can see, hosted or on your own machine.

    VISION_BASE_URL   e.g. http://localhost:8000/v1   (required)
    VISION_MODEL      the model's name                (required)
    VISION_API_KEY    sent as a bearer token          (optional)
    VISION_QUESTION   asked about every image; {prompt} is replaced (optional)
    VISION_WORKERS    requests at a time, default 4   (optional)

Usage: noisefind tune "a green dog" --reward "exec:python3 vision_scorer.py"
The reward is the number in the answer. An image whose answer holds no number, or that fails three times, has no
reward, and the reason goes to standard error.
"""

import base64
import concurrent.futures
import json
import os
import re
import sys
import time
import urllib.error
import urllib.request

QUESTION = (
    'Does this image show exactly this: "{prompt}"? Judge objects, colours, counts and places. '
    "Answer with one number from 0 (not at all) to 10 (perfectly), and nothing else."
)
ATTEMPTS = 3


def content(prompt, frames):
    question = os.environ.get("VISION_QUESTION", QUESTION).replace("{prompt}", prompt)
    parts = [{"type": "text", "text": question}]
    for path in frames:
        with open(path, "rb") as file:
            url = "data:image/png;base64," + base64.b64encode(file.read()).decode()
        parts.append({"type": "image_url", "image_url": {"url": url}})
    return parts


def ask(parts):
    body = {
        "model": os.environ["VISION_MODEL"],
        "messages": [{"role": "user", "content": parts}],
        "temperature": 0,
        "max_tokens": 16,
    }
    headers = {"Content-Type": "application/json"}
    if os.environ.get("VISION_API_KEY"):
        headers["Authorization"] = "Bearer " + os.environ["VISION_API_KEY"]
    url = os.environ["VISION_BASE_URL"].rstrip("/") + "/chat/completions"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)["choices"][0]["message"]["content"]


def reward(prompt, frames):
    """The number in the answer, or None; the reason goes to standard error."""
    parts = content(prompt, frames)
    for attempt in range(ATTEMPTS):
        try:
            answer = ask(parts)
        except urllib.error.HTTPError as error:
            print(f"{error.code} {error.reason}: {error.read(300).decode(errors='replace')}")
            if error.code < 500 and error.code != 429:
                return None
        except (OSError, ValueError, LookupError, TypeError) as error:
            print(f"{type(error).__name__}: {error}")
        else:
            number = re.search(r"-?\d+(\.\d+)?", answer or "")
            if number is None:
                print(f"no number in the answer: {answer!r}")
            return float(number.group()) if number else None
        if attempt + 1 < ATTEMPTS:
            time.sleep(2**attempt)
    return None


def main():
    answers, sys.stdout = sys.stdout, sys.stderr
    next(sys.stdin)
    absent = [name for name in ("VISION_BASE_URL", "VISION_MODEL") if not os.environ.get(name)]
    if absent:
        print(json.dumps({"ready": False, "error": "set " + " and ".join(absent)}), file=answers, flush=True)
        return
    name = "vision:" + os.environ["VISION_MODEL"]
    print(json.dumps({"ready": True, "name": name}), file=answers, flush=True)
    workers = int(os.environ.get("VISION_WORKERS", "4"))
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for line in sys.stdin:
            request = json.loads(line)
            media = [[entry] if isinstance(entry, str) else entry for entry in request["media"]]
            rewards = list(pool.map(lambda frames: reward(request["prompt"], frames), media))
            print(json.dumps({"id": request["id"], "rewards": rewards}), file=answers, flush=True)


if __name__ == "__main__":
    main()
