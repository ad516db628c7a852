"""Where other parsers read the table's requests in another way than we do, and why. Data only.

By name, so that a new version that changes its mind is noticed. Where two parsers differ in what
they *serve*, one in front of the other is a hole; here one of the two always refuses.
"""

from typing import Final

H11_SERVES: Final[dict[str, frozenset[str]]] = {
    "a method is any token to h11; to llhttp it is one that it knows": frozenset({
        "a method nobody knows", "a method in lower case", "a method that begins as one",
        "a method that ends too early", "a very long method", "a preface of HTTP/2",
    }),
    "a tunnel is for whoever uses h11 to refuse": frozenset({
        "CONNECT", "CONNECT with a path",
    }),
    "a target is any run of visible bytes to h11": frozenset({
        "a target without a slash", "a target of a query only", "a fragment in the target",
        "a fragment after the query", "an asterisk for GET", "an asterisk with a path",
        "an absolute target of another scheme", "an absolute target without a host",
        "an absolute target without slashes", "an absolute target with a fragment",
        "an authority for GET",
    }),
    "versions are for whoever uses h11 to look at": frozenset({
        "version 0.9", "version 1.2", "version 2.0",
    }),
    "h11 looks whether there is a host, not what it is": frozenset({
        "hosts in a list", "a host with a space", "a host with a tab", "a host with a path",
        "a host with a query", "a host with a fragment", "a host with a user",
        "a host with a backslash", "a host with a scheme", "a host with two ports",
        "a host with a word for a port", "a host with a sign before its port",
        "a host with an open bracket", "a host with a closed bracket",
        "a host that is an address without brackets", "a host with text after the bracket",
        "a host that is not ASCII", "a host with a quote", "a host with an angle bracket",
        "a host with a delete byte",
    }),
    "h11 refuses NUL, CR, LF, VT and FF in a value, and no other control byte": frozenset({
        "a control byte in a value", "a bell at the end of a value", "a backspace in a value",
        "an escape in a value", "a delete byte in a value",
    }),
    "h11 takes a line feed for a line end, as RFC 9112 2.2 allows": frozenset({
        "a line that ends with a line feed", "line feeds only", "a line feed after a field",
        "a line feed and a field in a value", "a line feed at the end of the head",
        "two line feeds at the end of the head", "a line feed, then an empty line",
        "a line feed for the last line", "a line feed after a trailer",
    }),
    "h11 unfolds": frozenset({
        "a folded value", "a value folded with a tab", "a value folded with nothing",
        "an empty value, folded", "a folded length", "a folded coding", "a folded trailer",
        "a space before the name of a coding",
    }),
    "expectations are for whoever uses h11 to meet": frozenset({
        "an expectation nobody meets", "two expectations", "an expectation with a body",
    }),
    "h11 takes a length that is said twice, as RFC 9110 8.6 allows": frozenset({
        "a list of lengths", "a list of lengths without spaces", "the same length twice",
        "two lengths in two spellings", "two lengths of a GET",
    }),
    "numbers have no bounds in Python, and h11's go to 20 digits": frozenset({
        "a length beyond 64 bits", "a length that would be 5 in 64 bits",
        "a size beyond 64 bits",
    }),
    "a coding goes before a length in h11, as RFC 9112 6.3 allows": frozenset({
        "a coding before a length", "a length before a coding", "a coding and a length of nothing",
        "a request behind the shorter of two ends",
    }),
    "h11 reads chunks in version 1.0": frozenset({
        "chunked in version 1.0",
    }),
    "h11 takes white space after the size of a chunk": frozenset({
        "a size with a space after", "a size with a tab after",
    }),
    "h11 looks for the line feed after an extension, at nothing else": frozenset({
        "a NUL in an extension", "a control byte in an extension",
        "a carriage return in an extension",
    }),
    "limits are for whoever uses h11 to set": frozenset({
        "a target that is too long", "a query that is too long",
        "a target that is longer than a head", "a value that is too long",
        "a name that is too long", "a value that is just too long",
        "a name that is just too long", "100 fields and a host", "a thousand fields",
        "fields that are too large together", "101 trailers", "a trailer that is too long",
        "a trailer without end", "extensions that are too large together",
    }),
}  # fmt: skip

H11_REFUSES: Final[dict[str, frozenset[str]]] = {
    "an empty line before a request is a mistake of old clients that h11 does not forgive":
        frozenset({
            "an empty line before the line", "a line feed before the line",
            "a carriage return before the line",
        }),
    "h11 takes one space between the words of a request line": frozenset({
        "two spaces before the target", "two spaces before the version",
    }),
    "h11's sizes have 20 digits at the most": frozenset({
        "a size of a thousand digits",
    }),
}  # fmt: skip

LLHTTP_SERVES: Final[dict[str, frozenset[str]]] = {
    "a tunnel is for whoever uses llhttp to refuse": frozenset({
        "CONNECT", "CONNECT with a path",
    }),
    "llhttp knows version 0.9 and 2.0, and the protocols of Icecast and cameras": frozenset({
        "a line without a version", "version 0.9", "version 2.0",
        "the protocol of Icecast", "the protocol of cameras",
    }),
    "llhttp looks at the target's bytes, not at its form": frozenset({
        "a fragment in the target", "a fragment after the query", "an asterisk for GET",
        "an asterisk with a path", "an absolute target of another scheme",
        "an absolute target without a host", "an absolute target with a fragment",
    }),
    "hosts are for whoever uses llhttp to look at": frozenset({
        "no host", "no host but other fields", "an absolute target and no host", "two hosts",
        "the same host twice", "two hosts in two spellings", "two hosts in version 1.0",
        "hosts in a list", "a host with a space", "a host with a tab", "a host with a path",
        "a host with a query", "a host with a fragment", "a host with a user",
        "a host with a backslash", "a host with a scheme", "a host with two ports",
        "a host with a word for a port", "a host with a sign before its port",
        "a host with an open bracket", "a host with a closed bracket",
        "a host that is an address without brackets", "a host with text after the bracket",
        "a host that is not ASCII", "a host with a quote", "a host with an angle bracket",
    }),
    "expectations are for whoever uses llhttp to meet": frozenset({
        "an expectation nobody meets", "two expectations", "an expectation with a body",
    }),
    "llhttp looks whether chunked is the last coding, not what comes before": frozenset({
        "a coding we do not speak", "a coding in another field before chunked",
        "chunked with a comma before",
    }),
    "llhttp reads chunks in version 1.0": frozenset({
        "chunked in version 1.0",
    }),
    "limits are for whoever uses llhttp to set": frozenset({
        "a target that is too long", "a query that is too long",
        "a target that is longer than a head", "a value that is too long",
        "a value without end", "a name that is too long", "a value that is just too long",
        "a name that is just too long", "100 fields and a host",
        "a thousand fields", "fields that are too large together", "101 trailers",
        "a trailer that is too long", "a trailer without end",
        "extensions that are too large together",
    }),
}  # fmt: skip

LLHTTP_REFUSES: Final[dict[str, frozenset[str]]] = {
    "llhttp stops at an upgrade; to go on is for whoever uses it": frozenset({
        "an upgrade to HTTP/2", "an upgrade to nonsense", "an upgrade with a body",
        "an upgrade with chunks",
    }),
    "a tab is no end of a coding": frozenset({
        "chunked with a tab after",
    }),
    "a trailer means to llhttp what a field means": frozenset({
        "a length in a trailer", "a coding in a trailer",
    }),
}  # fmt: skip
