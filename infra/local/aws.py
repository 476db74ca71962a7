"""The local AWS: ministack, as `bin/ministack` starts it, but for one thing.

It hands a function its event in two writes, head and body, and holds the second back until the first is acknowledged
(Nagle's algorithm, RFC 896), which Linux does 40 ms later: on each invocation. Here every write goes out at once.
"""

import socketserver

from ministack.app import main

if __name__ == "__main__":
    socketserver.StreamRequestHandler.disable_nagle_algorithm = True
    main()
