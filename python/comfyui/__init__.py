"""noisefind's nodes for ComfyUI: put this folder, or a link to it, into `custom_nodes`."""

from noisefind.comfy import nodes

try:
    nodes.v3_nodes()
except ImportError:
    # Versions before the V3 schema look for these names; later ones would prefer them to the entry point.
    NODE_CLASS_MAPPINGS = nodes.NODE_CLASS_MAPPINGS
    NODE_DISPLAY_NAME_MAPPINGS = nodes.NODE_DISPLAY_NAME_MAPPINGS
else:

    async def comfy_entrypoint():
        """What ComfyUI calls to learn the nodes."""
        return nodes.v3_extension()
