"""Objects of a real S3 (SeaweedFS), put there by boto3, to rows of raw."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from factories.remote_home import CONNECTION, RemoteHome, content
from factories.remote_places import s3_server
from perennial.core.errors import PermanentError, RetryableError

pytestmark = pytest.mark.integration


BUCKET = "partners"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("s3")) as running:
        running.client().create_bucket(Bucket=BUCKET)
        yield running


@dataclass(frozen=True)
class Folder:
    """A folder of the test's own in the bucket, seen by boto3."""

    client: Any
    name: str

    @property
    def url(self) -> str:
        return f"s3://{BUCKET}/{self.name}"

    def key(self, name: str) -> dict[str, str]:
        return {"Bucket": BUCKET, "Key": f"{self.name}/{name}"}

    def put(self, name: str, body: str | bytes) -> None:
        self.client.put_object(**self.key(name), Body=body)

    def names(self) -> set[str]:
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=f"{self.name}/").get("Contents", [])
        return {entry["Key"].removeprefix(f"{self.name}/") for entry in found}


@pytest.fixture
def folder(tmp_path, server):
    return Folder(server.client(), tmp_path.name)


@pytest.fixture
def home(tmp_path, server, folder):
    made = RemoteHome(tmp_path, folder.url, id=CONNECTION)
    made.connect(server.connection())
    return made


def test_L1_objects_end_in_raw_with_every_row_accounted_for_and_a_new_version_is_another_file(home, folder):
    for number in range(3):
        folder.put(f"sales_{number}.csv", content(number))
    assert len(home.fetch().files) == 3
    batch = home.only()
    assert (batch.landed, batch.loaded, batch.quarantined, batch.duplicate) == (9, 9, 0, 0)
    assert home.fetch().files == ()
    folder.put("sales_1.csv", content(1, rows=4))
    assert len(home.fetch().files) == 1
    batch = home.only()
    assert (batch.landed, batch.loaded, batch.duplicate) == (4, 1, 3)


def test_an_object_of_many_parts_arrives_byte_for_byte(home, folder):
    body = content(1).encode() + bytes(range(256)) * 40_000
    client, place = folder.client, folder.key("sales_1.csv")
    place["UploadId"] = client.create_multipart_upload(**place)["UploadId"]
    parts = []
    for number, start in enumerate(range(0, len(body), 5 * 2**20), 1):
        etag = client.upload_part(**place, PartNumber=number, Body=body[start : start + 5 * 2**20])["ETag"]
        parts.append({"ETag": etag, "PartNumber": number})
    assert home.fetch().files == (), "the parts of an upload that is not finished are no object"
    client.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})
    home.fetch()
    assert list(home.landed().values()) == [body]


@pytest.mark.parametrize("after", ["delete", "move"])
def test_L1_objects_are_put_away_once_they_are_committed_and_not_before(tmp_path, server, folder, after):
    home = RemoteHome(tmp_path, folder.url, id=CONNECTION, after=after, glob="**/sales_*.csv")
    home.connect(server.connection())
    folder.put("north/sales_1.csv", content(1))
    folder.put("other.csv", "x")
    home.fetch()
    home.fetch()
    assert "north/sales_1.csv" in folder.names(), "it has landed, and is not committed"
    home.ingest()
    assert home.fetch().files == ()
    moved = {"done/north/sales_1.csv"} if after == "move" else set()
    assert folder.names() == {"other.csv", *moved}
    assert home.fetch().files == ()


def test_an_empty_folder_is_nothing_new_and_an_absent_bucket_is_told(home, server, tmp_path):
    assert home.fetch().files == ()
    absent = RemoteHome(tmp_path / "absent", "s3://there-is-none/exports", id=CONNECTION)
    absent.connect(server.connection())
    problem = absent.fails().problem
    assert isinstance(problem, PermanentError)
    assert "there is no such place" in str(problem)


def test_L22_a_wrong_key_is_told_without_it(home, server):
    home.connect(server.connection(password="hunter2-of-mine"))
    problem = home.fails().problem
    assert isinstance(problem, PermanentError)
    assert "SignatureDoesNotMatch" in str(problem)
    assert "hunter2" not in str(problem)
    assert server.key not in str(problem)


def test_a_server_that_does_not_answer_is_tried_again(home, server):
    extra = json.loads(server.connection())["extra"] | {"endpoint_url": "http://127.0.0.1:9"}
    home.connect(server.connection(extra=extra))
    assert isinstance(home.fails().problem, RetryableError)


def test_L23_names_with_control_characters_are_told_and_the_good_object_is_fetched(home, folder):
    folder.put("sales_1.csv", content(1))
    folder.put("sales_a\nb.csv", content(2))
    report = home.fetch()
    assert len(report.files) == 1
    assert [note for note in report.notes if "is not fetched" in note and note.isprintable()]
