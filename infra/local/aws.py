"""The local AWS: ministack, as `bin/ministack` starts it, but for one thing.

It hands a function its event in two writes, head and body, and holds the second back until the first is acknowledged
(Nagle's algorithm, RFC 896), which Linux does 40 ms later: on each invocation. Here every write of the handler that its
runtime API is made of, `http.server`'s, goes out at once.
"""

from http.server import BaseHTTPRequestHandler

from ministack.app import main

if __name__ == "__main__":
    BaseHTTPRequestHandler.disable_nagle_algorithm = True
    main()
