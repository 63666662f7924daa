"""The merged tree."""

from copickfs.view.merged import Found, Listing, View

__all__ = ["Found", "Listing", "View"]
