"""The process beside the workers that answers probes, scrapes and operators."""
