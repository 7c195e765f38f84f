"""Networks for images, with the names of torchvision's: of constructors, of parameters.

A file for each family: `small` (LeNet, and the two networks of Deep Learning from Scratch 1), `vgg`, `resnet`,
`squeezenet`, `mobilenet`. Weights that torchvision's networks have learnt fit, written to a safetensors file:

    safetensors.torch.save_file(torchvision.models.resnet18(weights="DEFAULT").state_dict(), "resnet18.safetensors")
    model = lampion.vision.models.resnet18(weights="resnet18.safetensors").eval()
"""  # noqa: E501  # a line of code

from lampion.vision.models.mobilenet import InvertedResidual, MobileNetV2, mobilenet_v2
from lampion.vision.models.resnet import (
    BasicBlock,
    Bottleneck,
    ResNet,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
)  # fmt: skip
from lampion.vision.models.small import DeepConvNet, LeNet, SimpleConvNet
from lampion.vision.models.squeezenet import Fire, SqueezeNet, squeezenet1_0, squeezenet1_1
from lampion.vision.models.vgg import (
    VGG,
    vgg11,
    vgg11_bn,
    vgg13,
    vgg13_bn,
    vgg16,
    vgg16_bn,
    vgg19,
    vgg19_bn,
    vgg_features,
)  # fmt: skip

__all__ = [
    "VGG", "BasicBlock", "Bottleneck", "DeepConvNet", "Fire", "InvertedResidual", "LeNet", "MobileNetV2",
    "ResNet", "SimpleConvNet", "SqueezeNet", "mobilenet_v2", "resnet18", "resnet34", "resnet50", "resnet101",
    "resnet152", "squeezenet1_0", "squeezenet1_1", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16",
    "vgg16_bn", "vgg19", "vgg19_bn", "vgg_features",
]  # fmt: skip
