"""What a task learns from the outputs of another model."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Distillation:
    """A term of a task's loss: the distance to outputs that a teacher has given.

    With weight λ, the loss of the task in training is the mean over the examples that
    have a label or an answer of the teacher of

        [labelled] loss + λ [answered] distance

    (Hinton et al. 2015). In evaluation it is the loss alone. An example that has an
    answer counts once, whatever the weight of its class and however many of its
    positions have a label (the others have the loss 0). Where no example has a
    label, the teacher alone is what the task learns from, which keeps the task while
    others are learnt (Li and Hoiem 2016).

    Attributes:
        label: the name of the teacher's outputs in the data, `[N, ...]` floats of the
            shape of the head's outputs; a mask says where there are none.
        weight: λ, positive.
        temperature: τ of the softened probabilities; see `losses.distance`.

    Example:
        >>> from mtl_jax import tasks
        >>> how = Distillation("digit, teacher", weight=0.5, temperature=2.0)
        >>> tasks.classification("digit", 10, distillation=how).label_names
        ('digit', 'digit, teacher')

    References:
        Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015.
        Li and Hoiem, Learning without Forgetting, ECCV 2016.
    """

    label: str
    weight: float = 1.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        for name, value in (("weight", self.weight), ("temperature", self.temperature)):
            if not 0 < value < float("inf"):
                raise ValueError(
                    f"distillation from {self.label!r} was given {name}={value}; it "
                    "must be positive and finite"
                )
