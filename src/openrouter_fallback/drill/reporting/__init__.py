"""Views of a drill for people: a live view, a text report, charts."""
