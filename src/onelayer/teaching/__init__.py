"""What a teacher hands out, and how it is graded."""
