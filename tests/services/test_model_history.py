"""Verification names the first record or file that does not fit."""

from dataclasses import replace

import pytest

from oracle.errors import DigestMismatch
from oracle.ipfs.port import CidUnresolved
from oracle.protocol import records
from oracle.protocol.manifest import DerivedFrom, Manifest
from oracle.services import model_history, publishing
from oracle.services.model_history import HistoryBroken, check_records
from oracle.services.publishing import SaleTerms
from oracle.types import ZERO32, Address, Assurance, Bytes32, Timestamp, VersionRecord

OWNER = Address("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266")


def chain(count):
    found, head = [], ZERO32
    for version in range(1, count + 1):
        fields = {
            "model_id": 7,
            "version": version,
            "publisher": OWNER,
            "manifest_digest": Bytes32(bytes([version]) * 32),
            "model_root": Bytes32(bytes([version + 1]) * 32),
            "assurance": Assurance.COMMITTEE,
            "tolerance": 5,
            "timestamp": Timestamp(1000 + version),
        }
        new = records.version_head(prev_head=head, **fields)
        found.append(VersionRecord(prev_head=head, head=new, **fields))
        head = new
    return found


@pytest.mark.parametrize("field", ["manifest_digest", "model_root"])
def test_check_records__digest_swapped__names_that_version(field):
    links = chain(3)
    links[1] = replace(links[1], **{field: ZERO32})
    with pytest.raises(HistoryBroken, match="record of version 2: its fields hash to") as caught:
        check_records(7, links)
    assert caught.value.exit_code == 76


def test_check_records__one_left_out__names_the_next():
    links = chain(3)
    with pytest.raises(HistoryBroken, match="record of version 3: stands where version 2"):
        check_records(7, [links[0], links[2]])


def test_check_records__branch__names_where_it_leaves():
    links = chain(3)
    links[2] = replace(links[2], prev_head=links[0].head)
    with pytest.raises(HistoryBroken, match="record of version 3: continues"):
        check_records(7, links)


def test_check_records__of_another_model__refuses():
    with pytest.raises(HistoryBroken, match="record of version 1"):
        check_records(8, chain(1))


def test_check_records__intact__passes():
    check_records(7, chain(3))
    check_records(7, [])


@pytest.mark.real
def test_verify__untouched__checks_every_version(world):
    world.publish()
    (world.folder / "model.onnx").write_bytes(b"weights of the second version")
    last = world.publish()
    seen = []
    found = model_history.verify(
        world.network, 1, progress=lambda name, done, total: seen.append(name)
    )
    assert [v.version for v in found.versions] == [1, 2]
    assert found.head == last.head
    assert seen == ["model.onnx", "model.onnx"]
    assert not list(world.network.cache.iterdir())


@pytest.mark.real
def test_verify__one_byte_of_a_file_changed__names_the_file(world):
    first = world.publish()
    (world.folder / "model.onnx").write_bytes(b"weights of the second version")
    world.publish()
    world.ipfs.tamper(first.files[0].cid, b"weights of the First version")
    with pytest.raises(HistoryBroken, match=r"file model\.onnx of version 1") as caught:
        model_history.verify(world.network, 1)
    assert caught.value.subject == "file model.onnx of version 1"
    model_history.verify(world.network, 1, with_bytes=False)


@pytest.mark.real
def test_verify__manifest_swapped__names_the_manifest(world):
    done = world.publish()
    data = world.ipfs.fetch_bytes(done.manifest_cid, 10**6)
    world.ipfs.tamper(done.manifest_cid, data.replace(b"digits", b"digitz"))
    with pytest.raises(HistoryBroken, match="manifest of version 1"):
        model_history.verify(world.network, 1)


@pytest.mark.real
def test_verify__file_that_nobody_has__names_it(world):
    done = world.publish()
    world.ipfs.forget(done.files[0].cid)
    with pytest.raises(CidUnresolved, match=r"file model\.onnx of version 1"):
        model_history.verify(world.network, 1)


@pytest.mark.real
def test_verify__manifest_that_lies_about_a_digest__names_the_file(world):
    """The publisher itself lies: the record fits the manifest, the manifest not its file."""
    honest = publishing.folders.read(world.folder, lambda *_: None)
    served = world.ipfs.publish_bytes(b"other bytes")
    entry = replace(honest.files[0], cid=served.cid, sha256=served.sha256, size=12)
    lying = replace(honest, files=(entry,))
    _publish_manifest(world, lying)
    with pytest.raises(DigestMismatch, match=r"file model\.onnx of version 1"):
        model_history.verify(world.network, 1)


@pytest.mark.real
def test_verify__record_with_a_foreign_model_root__names_the_manifest(world):
    honest = publishing.upload(
        world.network, world.folder, publishing.folders.read(world.folder, lambda *_: None),
        lambda *_: None,
    )  # fmt: skip
    _publish_manifest(world, honest, model_root=Bytes32(b"\1" * 32))
    with pytest.raises(HistoryBroken, match="manifest of version 1: its weights hash to"):
        model_history.verify(world.network, 1)


@pytest.mark.real
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"version": 9}, "there is no model 1 version 9"),
        ({"model_root": ZERO32}, "model 1 version 1 has other weights"),
        ({"manifest_digest": ZERO32}, "model 1 version 1 has another manifest"),
        ({}, None),
    ],
)
def test_verify__parent_that_the_registry_knows_otherwise__names_the_manifest(world, changes, why):
    """A publisher with a program of its own: publishing held nothing to the registry."""
    parent = world.publish()
    true = {
        "model_root": parent.model_root, "manifest_digest": parent.manifest_digest,
        "model_id": 1, "version": 1, "method": "int8",
    }  # fmt: skip
    honest = publishing.upload(
        world.network, world.folder, publishing.folders.read(world.folder, lambda *_: None),
        lambda *_: None,
    )  # fmt: skip
    lying = replace(honest, derived_from=DerivedFrom(**{**true, **changes}))
    _publish_manifest(world, lying, model_id=2)
    if why is None:
        assert model_history.verify(world.network, 2).versions[0].version == 1
        return
    with pytest.raises(HistoryBroken, match=f"manifest of version 1: .*{why}"):
        model_history.verify(world.network, 2)


def _publish_manifest(
    world, manifest: Manifest, model_root: Bytes32 | None = None, model_id: int = 1
):
    registry = world.network.registry
    world.owner.send(registry.register_model("liar", 0))
    digest = world.ipfs.publish_bytes(manifest.to_bytes()).sha256
    offered = publishing._Offered(manifest.model_root(), Assurance.COMMITTEE, SaleTerms())
    publication = publishing._publication(world.network, manifest, digest, offered)
    if model_root:
        publication = replace(publication, model_root=model_root)
    world.owner.send(registry.publish_version(model_id, ZERO32, publication))
