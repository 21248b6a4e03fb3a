"""A folder becomes a version: refused early, resumed, and never published twice."""

import json

import pytest

from oracle.chain.bindings.model_access import Policy
from oracle.chain.bindings.program_registry import ProgramRegistry
from oracle.chain.memory import MemoryNode
from oracle.chain.revert import ContractError
from oracle.errors import DigestMismatch, InputInvalid, NotFound, Refused
from oracle.ipfs.memory import MemoryIpfs
from oracle.services import access, balances, folders, models, operators, publishing
from oracle.services.model_files.model_check import ModelCheck, Run
from oracle.services.publishing import SaleTerms
from oracle.types import ZERO_ADDRESS, Amount
from tests.services.conftest import DESCRIPTION, DOLLAR

silent = lambda *_: None  # noqa: E731


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"weights")
    return tmp_path


def describe(folder, **changes):
    (folder / "model.json").write_text(json.dumps({**DESCRIPTION, **changes}))
    return folder


def test_read__no_description__says_where(folder):
    with pytest.raises(NotFound, match=r"model\.json"):
        folders.read(folder, silent)


def test_read__description_is_not_an_object__refuses(folder):
    (folder / "model.json").write_text("[1]")
    with pytest.raises(InputInvalid, match="not a JSON object"):
        folders.read(folder, silent)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"files": ["../secret.json", "model.onnx"]}, "outside|not allowed"),
        ({"files": "model.onnx"}, "not a list"),
        ({"colour": "teal"}, "colour"),
        ({"runtime": {"format": "pickle", "entry": "model.onnx"}}, "runtime"),
        ({"runtime": {"format": "onnx", "entry": "other.onnx"}}, r"other\.onnx"),
        ({"max_output_bytes": 10**6}, "max_output_bytes"),
        ({"name": ""}, "name"),
    ],
)
def test_read__description_breaks_a_rule__names_it(folder, changes, why):
    (folder.parent / "secret.json").write_text("{}")
    describe(folder, **changes)
    with pytest.raises(InputInvalid, match=why):
        folders.read(folder, silent)


def test_read__file_that_is_named_is_missing__says_which(folder):
    describe(folder, files=["model.onnx", "gone.json"])
    with pytest.raises(NotFound, match=r"gone\.json"):
        folders.read(folder, silent)


def test_read__pickle_in_the_folder__refuses(folder):
    describe(folder)
    (folder / "optimizer.pkl").write_bytes(b"x")
    with pytest.raises(InputInvalid, match=r"optimizer\.pkl is of a kind"):
        folders.read(folder, silent)


def test_read__link_out_of_the_folder__refuses(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "secret.txt"
    outside.write_text("x")
    (folder / "link.txt").symlink_to(outside)
    describe(folder)
    with pytest.raises(InputInvalid, match="outside"):
        folders.read(folder, silent)


def test_read__good_folder__lists_every_file_with_digest(folder):
    describe(folder)
    (folder / "readme.md").write_text("hello")
    manifest = folders.read(folder, silent)
    assert [(f.path, f.size) for f in manifest.files] == [("model.onnx", 7), ("readme.md", 5)]


class Changing(MemoryIpfs):
    """A node beside a file that changes while it is published."""

    def publish_file(self, path, progress=None):
        path.write_bytes(b"changed meanwhile")
        return super().publish_file(path, progress)


class Counting(MemoryIpfs):
    """Counts what is uploaded, and can lose the connection."""

    def __init__(self):
        super().__init__()
        self.uploads = []

    def publish_file(self, path, progress=None):
        self.uploads.append(path.name)
        return super().publish_file(path, progress)


@pytest.mark.real
def test_publish__file_changes_meanwhile__publishes_nothing(world):
    from dataclasses import replace

    network = replace(world.network, ipfs=Changing())
    with pytest.raises(DigestMismatch, match=r"model\.onnx changed"):
        publishing.publish(network, world.owner, world.folder, SaleTerms())
    assert network.registry.model_count() == 0


@pytest.mark.real
def test_publish__model_of_somebody_else__refuses_before_uploading(world):
    from dataclasses import replace

    first = world.publish()
    network = replace(world.network, ipfs=Counting())
    with pytest.raises(Refused, match="belongs to"):
        publishing.publish(
            network, world.stranger, world.folder, SaleTerms(), model_id=first.model_id
        )
    assert network.ipfs.uploads == []


@pytest.mark.real
def test_publish__update_interval_not_over__refuses_before_uploading(world):
    from dataclasses import replace

    world.publish(update_interval=3600)
    (world.folder / "model.onnx").write_bytes(b"weights of the second version")
    network = replace(world.network, ipfs=Counting())
    with pytest.raises(ContractError, match="may not publish another version") as caught:
        publishing.publish(network, world.owner, world.folder, SaleTerms())
    assert caught.value.name == "UpdateTooSoon"
    assert network.ipfs.uploads == []


def checked(spread):
    """What a worker's process says of a model that does what its manifest says."""
    run = Run(1, 0.01, 100)
    return ModelCheck("digits", "onnx", "cpu", 1.0, (run,), 10**6, spread, (), ())


@pytest.mark.real
def test_publish__model_does_something_else__sends_nothing(world):
    def check(draft, folder):
        raise InputInvalid("the model cannot be served: another shape")

    with pytest.raises(InputInvalid, match="another shape"):
        publishing.publish(world.network, world.owner, world.folder, SaleTerms(), check=check)
    assert world.network.registry.model_count() == 0


@pytest.mark.real
def test_missing__what_keeps_a_version_from_being_asked__is_named_with_its_command(world):
    network = world.network
    done = world.publish()
    assert publishing.missing(network, 1, 1) == (
        "nobody may serve it yet: `tallystick operator authorize 1 OPERATOR --key OWNER`",
    )
    operators.register(network, world.operator, "")
    operators.authorize(network, world.owner, done.model_id, world.operator.address)
    (poor,) = publishing.missing(network, 1, 1)
    assert "no operator has the $" in poor
    balances.fund(network, world.operator.address, Amount(100 * DOLLAR))
    operators.stake(network, world.operator, Amount(100 * DOLLAR))
    assert publishing.missing(network, 1, 1) == ()
    access.set_policy(network, world.owner, 1, Policy.ON_REQUEST)
    assert publishing.missing(network, 1, 1) == (
        "only wallets with a grant may ask: `tallystick access grant 1 WALLET --key OWNER`",
    )


@pytest.mark.real
def test_publish__new_folder__registers_and_publishes(world):
    done = world.publish()
    assert (done.model_id, done.version, done.unchanged) == (1, 1, False)
    manifest = models.manifest(world.network, 1, 1)
    assert manifest.name == "digits"
    assert done.model_root == manifest.model_root()
    assert world.network.registry.manifest_of(1, 1) == done.manifest_digest


@pytest.mark.real
@pytest.mark.parametrize(("spread", "tolerance"), [(0, 1_000), (30, 1_000), (700, 5_000)])
def test_publish__no_tolerance__writes_four_times_the_measured_spread(world, spread, tolerance):
    body = json.loads((world.folder / "model.json").read_text())
    del body["tolerance"]
    (world.folder / "model.json").write_text(json.dumps(body))
    with pytest.raises(ContractError, match="needs a tolerance"):
        publishing.publish(world.network, world.owner, world.folder, SaleTerms())
    measured = []

    def check(draft, folder):
        measured.append((draft.name, folder))
        return checked(spread)

    for _ in range(2):  # the second time it is found
        publishing.publish(world.network, world.owner, world.folder, SaleTerms(), check=check)
    assert measured[0] == ("digits", world.folder)
    assert models.manifest(world.network, 1, 1).tolerance == tolerance
    assert world.network.registry.version_count(1) == 1
    assert world.network.registry.terms_of(1, 1).tolerance == tolerance


@pytest.mark.real
def test_publish__tolerance_below_four_times_the_spread__refuses(world):
    with pytest.raises(InputInvalid, match=r"honest answers differ by 2\.51e-07"):
        publishing.publish(
            world.network, world.owner, world.folder, SaleTerms(), check=lambda *_: checked(251)
        )
    assert world.network.registry.model_count() == 0


@pytest.mark.real
def test_publish__same_folder_again__finds_it_published(world):
    first = world.publish()
    again = world.publish()
    assert again.unchanged
    assert (again.model_id, again.version, again.head) == (1, 1, first.head)
    assert world.network.registry.version_count(1) == 1


@pytest.mark.real
def test_publish__other_weights__appends_and_uploads_only_what_is_new(world):
    from dataclasses import replace

    (world.folder / "notes.txt").write_text("same")
    network = replace(world.network, ipfs=Counting())
    publishing.publish(network, world.owner, world.folder, SaleTerms())
    (world.folder / "model.onnx").write_bytes(b"weights of the second version")
    network.ipfs.uploads.clear()
    second = publishing.publish(network, world.owner, world.folder, SaleTerms())
    assert (second.model_id, second.version) == (1, 2)
    assert network.ipfs.uploads == ["model.onnx"]
    assert [v.version for v in models.versions(network, 1)] == [1, 2]


@pytest.mark.real
def test_publish__other_labels_or_outputs__are_named(world):
    assert world.publish().differs == ()
    outputs = [{"name": "scores", "dtype": "F32", "shape": [None, 3]}]
    describe(world.folder, outputs=outputs, labels=["a", "b", "c"])
    told = []
    done = publishing.publish(
        world.network, world.owner, world.folder, SaleTerms(), say=told.append
    )
    assert done.differs == ("outputs", "labels")
    assert any("outputs, labels differ from the version before" in line for line in told)
    (world.folder / "model.onnx").write_bytes(b"weights of the next version")
    assert world.publish().differs == ()


@pytest.mark.real
def test_publish__interrupted_after_registration__continues_with_that_model(world):
    world.owner.send(world.network.registry.register_model("digits", 0))
    assert world.publish().model_id == 1


@pytest.mark.real
def test_publish__file_forgotten_by_the_node__is_uploaded_again(world):
    first = world.publish()
    (world.folder / "notes.txt").write_text("new")
    world.ipfs.forget(first.files[0].cid)
    world.publish()
    assert world.ipfs.fetch_bytes(first.files[0].cid, 100) == b"weights of the first version"


def test_require_sendable__454_operations_fit__one_more_is_refused():
    """Nine words an operation: transaction pools take 131,072 bytes."""
    registry = ProgramRegistry(MemoryNode(), ZERO_ADDRESS)
    for count, fits in ((454, True), (455, False)):
        call = registry.register_program([2**256 - 1] * (2 + 9 * count))
        if fits:
            publishing.require_sendable(call, count)
        else:
            with pytest.raises(Refused, match="455 operations"):
                publishing.require_sendable(call, count)


def test_publish__terms_under_which_lying_pays__are_refused_with_the_sum(world, tmp_path):
    """Before anything is uploaded, of a model that is not registered yet as well."""
    (tmp_path / "model.onnx").write_bytes(b"weights")
    describe(tmp_path, name="cheap stake")
    sale = SaleTerms(fee=Amount(10**6), insured_multiple=1)
    with pytest.raises(Refused, match="lying pays") as refused:
        publishing.publish(world.network, world.owner, tmp_path, sale)
    assert "--insured 10" in refused.value.hint
    assert publishing.own_model(world.network, world.owner.address, "cheap stake") is None
