"""Images of one's own in folders, CIFAR-100, and the names of ImageNet's classes."""

import functools
import json
import pickle

import numpy as np
import pytest
from test_datasets import Answer, archive, folders_of_its_own, sha256  # noqa: F401  # a fixture

import lampion as lp
from lampion.datasets import CIFAR100, DatasetFolder, ImageFolder, imagenet, imagenet_labels, open_image
from lampion.datasets.fetch import File
from lampion.errors import IndexRangeError, LampionError, OptionError, ShapeError
from lampion.utils.data import DataLoader
from lampion.vision import transforms as T

Image = pytest.importorskip("PIL.Image")
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 11, 3), np.uint8)


@pytest.fixture
def root(tmp_path):
    """cat/a.png, cat/kittens/b.png, dog/c.PNG, dog/d.jpg and a file that is none."""
    places = ["cat/a.png", "cat/kittens/b.png", "dog/c.PNG", "dog/d.jpg"]
    for place, pixels in zip(places, PIXELS, strict=False):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / place)
    (tmp_path / "dog" / "notes.txt").write_text("good dog")
    return tmp_path


def test_images_in_folders(root):
    data = ImageFolder(root)
    assert data.classes == ["cat", "dog"] and data.class_to_idx == {"cat": 0, "dog": 1}
    assert data.targets == [0, 0, 1, 1] and len(data) == 4 and data.imgs is data.samples
    assert [path[len(str(root)) + 1 :].replace("\\", "/") for path, _ in data.samples] == [
        "cat/a.png", "cat/kittens/b.png", "dog/c.PNG", "dog/d.jpg",
    ]  # fmt: skip
    for index in range(3):
        image, label = data[index]
        assert label == data.targets[index]
        np.testing.assert_array_equal(np.asarray(image), PIXELS[index])
    with pytest.raises(IndexRangeError, match="below 4"):
        data[4]
    changed = ImageFolder(str(root), T.ToTensor(), lambda label: -label)
    images, labels = next(iter(DataLoader(changed, 4)))
    assert images.shape == (4, 3, 9, 11) and labels.tolist() == [0, 0, -1, -1]
    assert len(pickle.loads(pickle.dumps(data))) == 4


def test_channels_are_what_is_asked_for(root):
    Image.fromarray(PIXELS[0, ..., 0]).save(root / "cat" / "grey.png")
    Image.fromarray(PIXELS[0]).convert("P").save(root / "cat" / "palette.png")
    Image.fromarray(np.full((9, 11, 4), 200, np.uint8)).save(root / "cat" / "see-through.png")
    assert {T.ToTensor()(image).shape for image, _ in ImageFolder(root)} == {(3, 9, 11)}
    grey = ImageFolder(root, T.ToTensor(), loader=functools.partial(open_image, mode="L"))
    assert {image.shape for image, _ in grey} == {(1, 9, 11)}
    network = lp.vision.models.resnet18(num_classes=2)
    with pytest.raises(ShapeError, match=r"(?s)another number of channels.*got: \(?1"):
        network(grey[0][0][None])


def test_other_samples_than_images(root):
    def read(path):
        with open(path) as stream:
            return stream.read()

    data = DatasetFolder(root, read, ".txt", allow_empty=True)
    assert data.classes == ["cat", "dog"] and data[0] == ("good dog", 1) and len(data) == 1
    data = DatasetFolder(root, len, is_valid_file=lambda path: "kittens" in path, allow_empty=True)
    assert data.targets == [0]
    for extensions, is_valid in ((None, None), (".txt", len)):
        with pytest.raises(OptionError, match="by extensions, or by is_valid_file"):
            DatasetFolder(root, read, extensions, is_valid_file=is_valid)


def test_folders_that_are_wrong(root, tmp_path):
    with pytest.raises(LampionError, match="ImageFolder: there is no folder"):
        ImageFolder(root / "nowhere")
    with pytest.raises(LampionError, match=r"(?s)no folders, which are the classes.*root/CLASS/ima"):
        ImageFolder(root / "cat" / "kittens")
    (root / "fish").mkdir()
    with pytest.raises(LampionError, match=r"the class 'fish' has no samples(.|\n)*got: 0 other files"):
        ImageFolder(root)
    assert ImageFolder(root, allow_empty=True).targets == [0, 0, 1, 1]
    (root / "fish" / "f.gif").write_bytes(b"GIF89a")
    with pytest.raises(LampionError, match=r"(?s)expected: .jpg .jpeg .*1 other files in .*allow_empty"):
        ImageFolder(root)


def test_images_that_are_wrong(root, monkeypatch):
    data = ImageFolder(root)
    whole = (root / "cat" / "a.png").read_bytes()
    photo = (root / "dog" / "d.jpg").read_bytes()
    cases = [
        (0, whole[: len(whole) // 2], "a.png is not a whole image"),
        (3, photo[: len(photo) // 2], "d.jpg is not a whole image"),
        (0, whole[:60] + b"\0" * 40 + whole[100:], "a.png is not a whole image"),
        (0, b"", r"a.png is not an image(.|\n)*an empty file"),
        (
            0,
            b"<html>not found</html>",
            r"(?s)a.png is not an image.*begins with b'<html>no'.*get it again",
        ),
    ]
    for index, contents, words in cases:
        path = data.samples[index][0]
        with open(path, "wb") as stream:
            stream.write(contents)
        with pytest.raises(LampionError, match=words):
            data[index]
    (root / "cat" / "a.png").unlink()
    with pytest.raises(LampionError, match=r"a.png is not there any more"):
        data[0]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(LampionError, match=r"b.png is too large(.|\n)*99 pixels"):
        data[1]


def test_cifar100(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    files, members = [], []
    for file, count in zip(CIFAR100.files, (5, 3), strict=True):
        records = random.integers(0, 256, (count, 3074)).astype("u1")
        records[:, 0] %= 20
        records[:, 1] %= 100
        members.append((f"cifar-100-binary/{file.name}", records.tobytes()))
        files.append(File(file.name, count * 3074, packed=sha256(records.tobytes())))
    archive(tmp_path / "packed.tar.gz", members)
    packed = (tmp_path / "packed.tar.gz").read_bytes()
    monkeypatch.setattr(CIFAR100, "files", tuple(files))
    monkeypatch.setattr(CIFAR100, "archive", File("cifar-100-binary.tar.gz", 10**6, packed=sha256(packed)))
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: Answer(packed, url))
    train, test, coarse = CIFAR100(), CIFAR100(train=False), CIFAR100(train=False, coarse=True)
    assert len(train) == 5 and len(test) == 3 and train[0][0].shape == (3, 32, 32)
    written = np.frombuffer(members[1][1], np.uint8).reshape(3, 3074)
    assert test.labels.tolist() == written[:, 1].tolist() and coarse.labels.tolist() == written[:, 0].tolist()
    np.testing.assert_array_equal(test.data.numpy().reshape(3, -1), written[:, 2:])
    assert len(test.classes) == 100 and len(coarse.classes) == 20
    for names in (test.classes, coarse.classes):
        assert list(names) == sorted(set(names))  # as the archive has them
    wrong = written.copy()
    wrong[0, 0] = 20
    wrong.tofile(tmp_path / "f")
    with pytest.raises(LampionError, match=r"labels to 19, 99"):
        lp.datasets.read_cifar(tmp_path / "f", classes=(20, 100))


def test_names_of_imagenet(tmp_path, monkeypatch):
    contents = json.dumps({str(i): [f"n{i:08}", f"name {i}"] for i in range(1000)}).encode()
    (tmp_path / "imagenet").mkdir()
    path = tmp_path / "imagenet" / "imagenet_class_index.json"
    path.write_bytes(contents)
    with pytest.raises(LampionError, match=r"not the file that it should be(.|\n)*MD5 c2c37ea5"):
        imagenet_labels(tmp_path)
    monkeypatch.setattr(imagenet, "_FILE", File(path.name, size=10**5, packed=sha256(contents)))
    names = imagenet_labels(tmp_path)
    assert len(names) == 1000 and names[:2] == ["name 0", "name 1"]
    contents = b'{"0": ["n01440764", "tench"]}'
    path.write_bytes(contents)
    monkeypatch.setattr(imagenet, "_FILE", File(path.name, size=10**5, packed=sha256(contents)))
    with pytest.raises(LampionError, match="is not what it should be"):
        imagenet_labels(tmp_path)
    path.unlink()
    with pytest.raises(LampionError, match="download=False"):
        imagenet_labels(tmp_path, download=False)
