"""What a run did to an archive, as a page: failures first, then the whole, then every photo."""
