"""Policies in ComfyUI: the nodes (`nodes`), and tuning of any workflow (`python -m noisefind.comfy`)."""
