"""What a release is and the moves it may make."""
