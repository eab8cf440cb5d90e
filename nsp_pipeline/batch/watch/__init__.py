"""Following folders: new photos are taken as soon as they are completely written, until somebody ends it."""
