"""Volume 3, step 58: VGG-16, and other networks that have seen a million photographs.

See: how many weights each layer has, and how an image shrinks on its way. With weights, written to a file by

    safetensors.torch.save_file(torchvision.models.vgg16(weights="DEFAULT").state_dict(), "vgg16.safetensors")
    python -m examples from_scratch_3/steps_55_to_58/trained_networks --weights vgg16.safetensors

it names what is in a photograph (--image me.jpg). Without them, they are drawn: the answers mean nothing.
"""

import lampion
from lampion import Tensor, nn
from lampion.datasets import imagenet_labels
from lampion.training import summary
from lampion.vision import models, transforms


def photograph(path: str) -> Tensor:
    """What these networks are shown: the middle of a photograph, with ImageNet's mean and spread."""
    from PIL import Image
    from sklearn.datasets import load_sample_image

    image = Image.open(path) if path else Image.fromarray(load_sample_image("china.jpg"))
    prepare = transforms.Compose([
        transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ])  # fmt: skip
    return prepare(image.convert("RGB"))[None]


def answers(model: nn.Module, x: Tensor, count: int = 5) -> list[tuple[int, float]]:
    """The likeliest classes, and how likely each is."""
    with lampion.no_grad():
        likely = model(x)[0].softmax(0).topk(count)
    return list(zip(likely.indices.tolist(), likely.values.tolist(), strict=True))


def main(model: str = "vgg16", weights: str = "", image: str = "") -> dict[str, object]:
    lampion.manual_seed(0)
    network = getattr(models, model)(weights=weights or None).eval()
    x = photograph(image)
    print(summary(network, input_data=x))
    found = answers(network, x)
    names = imagenet_labels() if weights else [f"class {number}" for number in range(1000)]
    print("Weights as they were learnt:" if weights else "Drawn weights, so these answers mean nothing:")
    for number, share in found:
        print(f"{share:6.1%}  {names[number]}")
    return {"x": x, "answers": found}


if __name__ == "__main__":
    main()
