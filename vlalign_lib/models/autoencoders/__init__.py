"""One code for any number of views, from which each can be reconstructed (chapter 04)."""

from vlalign_lib.models.autoencoders.hiding import hide_views
from vlalign_lib.models.autoencoders.multimodal import MultimodalAE
from vlalign_lib.models.autoencoders.reconstruction import reconstruction_loss

__all__ = ["MultimodalAE", "hide_views", "reconstruction_loss"]
