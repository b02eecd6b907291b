"""From an issue to a plan that a person reviews: read, survey, eight sections, one document."""
