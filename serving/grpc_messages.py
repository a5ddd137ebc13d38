"""The messages of the Open Inference Protocol's gRPC service, as protobuf classes made when this is imported.

Field numbers and types are the public protocol's; what this service does not read (parameters) is left out, and a parser
passes over it. They live in a pool of their own, so another copy of the protocol in the process does no harm.
"""

from __future__ import annotations

import re
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.message import Message

PACKAGE, SERVICE = "inference", "inference.GRPCInferenceService"
LINE = re.compile(r"^(?P<repeated>repeated )?(?P<kind>\w+) (?P<name>\w+) = (?P<number>\d+)$")
SCALARS = {
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "uint32": FieldDescriptorProto.TYPE_UINT32,
    "uint64": FieldDescriptorProto.TYPE_UINT64,
    "float": FieldDescriptorProto.TYPE_FLOAT,
    "double": FieldDescriptorProto.TYPE_DOUBLE,
    "string": FieldDescriptorProto.TYPE_STRING,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
}
TENSOR = ("string name = 1", "string datatype = 2", "repeated int64 shape = 3")
MESSAGES: dict[str, tuple[str, ...]] = {
    "ServerLiveRequest": (),
    "ServerLiveResponse": ("bool live = 1",),
    "ServerReadyRequest": (),
    "ServerReadyResponse": ("bool ready = 1",),
    "ModelReadyRequest": ("string name = 1", "string version = 2"),
    "ModelReadyResponse": ("bool ready = 1",),
    "ServerMetadataRequest": (),
    "ServerMetadataResponse": ("string name = 1", "string version = 2", "repeated string extensions = 3"),
    "ModelMetadataRequest": ("string name = 1", "string version = 2"),
    "TensorMetadata": TENSOR,
    "ModelMetadataResponse": (
        "string name = 1",
        "repeated string versions = 2",
        "string platform = 3",
        "repeated TensorMetadata inputs = 4",
        "repeated TensorMetadata outputs = 5",
    ),
    "InferTensorContents": (
        "repeated bool bool_contents = 1",
        "repeated int32 int_contents = 2",
        "repeated int64 int64_contents = 3",
        "repeated uint32 uint_contents = 4",
        "repeated uint64 uint64_contents = 5",
        "repeated float fp32_contents = 6",
        "repeated double fp64_contents = 7",
        "repeated bytes bytes_contents = 8",
    ),
    "InferTensor": (*TENSOR, "InferTensorContents contents = 5"),
    "InferRequestedOutputTensor": ("string name = 1",),
    "ModelInferRequest": (
        "string model_name = 1",
        "string model_version = 2",
        "string id = 3",
        "repeated InferTensor inputs = 5",
        "repeated InferRequestedOutputTensor outputs = 6",
        "repeated bytes raw_input_contents = 7",
    ),
    "ModelInferResponse": (
        "string model_name = 1",
        "string model_version = 2",
        "string id = 3",
        "repeated InferTensor outputs = 5",
        "repeated bytes raw_output_contents = 6",
    ),
}
CONTENTS = {  # the field of InferTensorContents that holds a datatype
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def made() -> dict[str, type[Message]]:
    """The classes, by the names in MESSAGES."""
    file = FileDescriptorProto(name="open_inference.proto", package=PACKAGE, syntax="proto3")
    for name, lines in MESSAGES.items():
        message = file.message_type.add(name=name)
        for line in lines:
            message.field.append(_field(line))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in MESSAGES}


def _field(line: str) -> FieldDescriptorProto:
    found = LINE.match(line)
    assert found is not None, line  # a line of the table above
    repeated = FieldDescriptorProto.LABEL_REPEATED if found["repeated"] else FieldDescriptorProto.LABEL_OPTIONAL
    kind: dict[str, Any] = {"type": SCALARS.get(found["kind"], FieldDescriptorProto.TYPE_MESSAGE)}
    if found["kind"] not in SCALARS:
        kind["type_name"] = f".{PACKAGE}.{found['kind']}"
    return FieldDescriptorProto(name=found["name"], number=int(found["number"]), label=repeated, **kind)


TYPES = made()
