"""Short complete training programs, each a page to copy: `lampion recipe NAME` prints one."""
