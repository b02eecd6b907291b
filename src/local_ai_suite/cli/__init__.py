"""The doors: ``main`` and one file per verb. The composition root; the only place that prints."""
