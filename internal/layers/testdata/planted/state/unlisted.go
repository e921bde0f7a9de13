package state

import _ "example.com/unlisted"
