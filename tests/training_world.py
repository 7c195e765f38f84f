"""A small training for tests: shuffled, with dropout and running means, and a last batch that is smaller."""

import lampion as lp
from lampion.training import Trainer
from lampion.training.metrics import Accuracy
from lampion.utils.data import DataLoader, TensorDataset


def data(samples=22, seed=5):
    generator = lp.Generator().manual_seed(seed)
    x = lp.randn(samples, 4, generator=generator)
    return TensorDataset(x, (x.sum(1) > 0).long())


def loader(samples=22, batch_size=4, **options):
    return DataLoader(data(samples), batch_size, **{"shuffle": True, **options})


def network():
    return lp.nn.Sequential(
        lp.nn.Linear(4, 8, bias=False),
        lp.nn.BatchNorm1d(8),
        lp.nn.ReLU(),
        lp.nn.Dropout(0.4),
        lp.nn.Linear(8, 2),
    )


def trainer(seed=0, optimizer=None, schedule=None, **options):
    lp.manual_seed(seed)
    model = network()
    opt = (optimizer or (lambda p: lp.optim.Adam(p, lr=0.01)))(model.parameters())
    scheduler = None if schedule is None else schedule(opt)
    options = {"metrics": [Accuracy()], "compile": False, **options}
    return Trainer(model, lp.nn.CrossEntropyLoss(), opt, scheduler=scheduler, **options)


def bits(made):
    """All of a training's state as bytes and numbers, to be compared exactly."""
    from lampion.training.state import encode

    tensors = {}
    state = made.state_dict()
    state.pop("callbacks")
    plain = encode(state, tensors)
    return repr(plain), {
        name: (str(x.dtype), tuple(x.shape), x.numpy().tobytes()) for name, x in tensors.items()
    }
