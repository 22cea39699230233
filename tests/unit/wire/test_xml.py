from __future__ import annotations

import subprocess
import sys

import pytest

from postroad.errors import FaultCode, MalformedInput
from postroad.wire.xml import (
    XmlLimits,
    canonicalize,
    child_elements,
    escape_attribute,
    escape_text,
    local_name,
    namespace_of,
    parse,
    serialize,
)

BILLION = b"""<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "xxxxxxxxxx">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><l>&b;</l>"""


@pytest.mark.parametrize(
    "data",
    [
        BILLION,
        b"<!DOCTYPE a><a/>",
        b'<!DOCTYPE a SYSTEM "http://example.org/x.dtd"><a/>',
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        b"",
        b"<a>",
        b"<a></b>",
        b"\xff\xfe",
        b"<a>&undefined;</a>",
        b"<a xmlns:b='c'><d:e/></a>",
    ],
)
def test_refuses_document_types_entities_and_broken_xml(data: bytes) -> None:
    with pytest.raises(MalformedInput) as caught:
        parse(data)
    assert caught.value.code is FaultCode.INVALID_XML


def test_bounds_size_depth_and_count() -> None:
    limits = XmlLimits(max_bytes=100, max_depth=3, max_elements=4)
    parse(b"<a><b><c/></b></a>", limits=limits)
    for data in (
        b"<a>" + b"x" * 100 + b"</a>",
        b"<a><b><c><d/></c></b></a>",
        b"<a><b/><b/><b/><b/></a>",
    ):
        with pytest.raises(MalformedInput):
            parse(data, limits=limits)


def test_canonical_form_carries_the_namespaces_in_scope() -> None:
    root = parse(b'<a xmlns:z="u:z" xmlns="u:a"><b q="1" a="2">x&#13;</b>tail</a>')
    b = child_elements(root)[0]
    assert canonicalize(b) == b'<b xmlns="u:a" xmlns:z="u:z" a="2" q="1">x&#xD;</b>'
    assert canonicalize(b, exclusive=True) == b'<b xmlns="u:a" a="2" q="1">x&#xD;</b>'


def test_comments_are_left_out_of_the_canonical_form_and_of_children() -> None:
    root = parse(b"<a><!-- no --><b/><?pi?></a>")
    assert canonicalize(root) == b"<a><b></b><?pi?></a>"
    assert [local_name(child) for child in child_elements(root)] == ["b"]


@pytest.mark.parametrize("text", ["a<b>&c", "\r\n\t", 'q"uote', "ä\u2028"])
def test_escapes_as_the_canonical_form_does(text: str) -> None:
    element = parse(b"<a b=''></a>")
    element.text = text
    element.set("b", text)
    expected = f'<a b="{escape_attribute(text)}">{escape_text(text)}</a>'.encode()
    assert canonicalize(element) == expected


def test_names_and_serialization() -> None:
    root = parse(b"<x:a xmlns:x='u'/>")
    assert (namespace_of(root), local_name(root)) == ("u", "a")
    assert parse(serialize(root)).tag == "{u}a"


_SCHEMAS_IN_THREADS = """
import threading
from postroad.wire import xml

names = ["anchor.xsd", "shared-parameters-v5.xsd", "private-parameters-v3.xsd", "monitoring.xsd"]
barrier = threading.Barrier(len(names))
failed = []

def load(name):
    barrier.wait()
    try:
        xml.load_schema("postroad.globalconf.schemas", name)
    except BaseException as error:
        failed.append(repr(error))

threads = [threading.Thread(target=load, args=(name,)) for name in names]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(failed)
"""


def test_threads_may_load_the_first_schemas_of_a_process_at_once() -> None:
    for _ in range(15):
        command = [sys.executable, "-c", _SCHEMAS_IN_THREADS]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout == "[]\n"
