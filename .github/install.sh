#!/bin/sh
# Installs noisefind into $NOISEFIND_INSTALL, or ~/.local/bin, after checking the archive's SHA-256 sum. A release fills in both names below.
set -eu

repository=@REPOSITORY@ tag=@TAG@
folder=${NOISEFIND_INSTALL:-$HOME/.local/bin}

case "$(uname -s)-$(uname -m)" in
    Linux-x86_64) target=x86_64-unknown-linux-gnu ;;
    Linux-aarch64 | Linux-arm64) target=aarch64-unknown-linux-gnu ;;
    Darwin-x86_64) target=x86_64-apple-darwin ;;
    Darwin-arm64) target=aarch64-apple-darwin ;;
    *)
        echo "there is no archive for $(uname -s) on $(uname -m); build from source with cargo install" >&2
        exit 1
        ;;
esac

archive=noisefind-$target.tar.gz
staging=$(mktemp -d)
trap 'rm -rf "$staging"' EXIT
cd "$staging"
for file in "$archive" "$archive.sha256"; do
    curl --proto '=https' --fail --location --silent --show-error --remote-name \
        "https://github.com/$repository/releases/download/$tag/$file"
done
if command -v sha256sum > /dev/null; then
    sha256sum --check --quiet "$archive.sha256"
else
    shasum -a 256 --check --quiet "$archive.sha256"
fi
tar -xzf "$archive"
mkdir -p "$folder"
install -m 755 "noisefind-$target/noisefind" "$folder/noisefind"
echo "installed $folder/noisefind"
case ":$PATH:" in
    *":$folder:"*) ;;
    *) echo "add $folder to PATH" ;;
esac
