"""Write docs/peers.md: what there is in layerkit, and what it is called in Keras and torch.

python docs/peers.py

The first table has every class, from the code; the second every name of the peers, as
benchmarks/peer_names.py has recorded them, with what stands for it here, or why nothing does.
"""

import inspect
import json
import re
from pathlib import Path

import layerkit
from layerkit import (
    Activation,
    Callback,
    Constraint,
    Initializer,
    Layer,
    Loss,
    Metric,
    Optimizer,
    Regularizer,
    Schedule,
)

ROOT = Path(__file__).parents[1]
NAMES = ROOT / "tests" / "recorded" / "peer_names.json"

FAMILIES = {
    "Layers": Layer,
    "Activations": Activation,
    "Losses": Loss,
    "Metrics": Metric,
    "Optimizers": Optimizer,
    "Schedules of the learning rate": Schedule,
    "Initializers": Initializer,
    "Regularizers": Regularizer,
    "Constraints": Constraint,
    "Callbacks": Callback,
}

# Whose names the modules of the peers have.
MODULES = {
    "keras.layers": (Layer, Activation),
    "keras.activations": (Activation, Layer),
    "keras.losses": (Loss,),
    "keras.metrics": (Metric,),
    "keras.optimizers": (Optimizer,),
    "keras.optimizers.schedules": (Schedule,),
    "keras.initializers": (Initializer,),
    "keras.regularizers": (Regularizer,),
    "keras.constraints": (Constraint,),
    "keras.callbacks": (Callback,),
    "torch.nn": (Layer, Activation, Loss),
    "torch.optim": (Optimizer,),
    "torch.optim.lr_scheduler": (Schedule, Callback),
    "torch.nn.init": (Initializer,),
}

# What a class is called elsewhere: in Keras, in torch. Base classes are left to the README.
PEERS = {
    # Layers
    "ActivationLayer": ("Activation", ""),
    "Add": ("Add", ""),
    "AlphaDropout": ("AlphaDropout", "AlphaDropout"),
    "AveragePooling1D": ("AveragePooling1D", "AvgPool1d"),
    "AveragePooling2D": ("AveragePooling2D", "AvgPool2d"),
    "BatchNorm": ("BatchNormalization", "BatchNorm1d BatchNorm2d SyncBatchNorm"),
    "Bidirectional": ("Bidirectional", ""),
    "Carried": ("", ""),
    "Chain": ("StackedRNNCells", ""),
    "Concatenate": ("Concatenate", ""),
    "Conv1D": ("Conv1D", "Conv1d"),
    "Conv2D": ("Conv2D", "Conv2d"),
    "Conv2DTranspose": ("Conv2DTranspose", "ConvTranspose2d"),
    "Cropping": ("Cropping1D Cropping2D", ""),
    "CrossAttention": ("MultiHeadAttention", "MultiheadAttention"),
    "Dense": ("Dense EinsumDense", "Linear"),
    "DepthwiseConv2D": ("DepthwiseConv2D", "Conv2d"),
    "Dot": ("Dot", "CosineSimilarity"),
    "Dropout": ("Dropout", "Dropout"),
    "Embedding": ("Embedding", "Embedding"),
    "Flatten": ("Flatten", "Flatten"),
    "GLU": ("glu", "GLU"),
    "GRU": ("GRU", "GRU"),
    "GaussianDropout": ("GaussianDropout", ""),
    "GaussianNoise": ("GaussianNoise", ""),
    "GlobalAveragePooling": ("GlobalAveragePooling1D GlobalAveragePooling2D", ""),
    "GlobalMaxPooling": ("GlobalMaxPooling1D GlobalMaxPooling2D", ""),
    "Graph": ("InputLayer", ""),
    "GroupNorm": ("GroupNormalization", "GroupNorm InstanceNorm1d InstanceNorm2d"),
    "LSTM": ("LSTM", "LSTM"),
    "LayerNorm": ("LayerNormalization", "LayerNorm"),
    "Masked": ("Masking", ""),
    "MaxPooling1D": ("MaxPooling1D", "MaxPool1d"),
    "MaxPooling2D": ("MaxPooling2D", "MaxPool2d"),
    "Maxout": ("", ""),
    "MultiHeadAttention": ("MultiHeadAttention Attention", "MultiheadAttention"),
    "Multiply": ("Multiply", ""),
    "PReLU": ("PReLU", "PReLU"),
    "PaddingMask": ("Masking", ""),
    "Parallel": ("", ""),
    "Permute": ("Permute", ""),
    "PositionalEmbedding": ("", ""),
    "PositionalEncoding": ("", ""),
    "RMSNorm": ("RMSNormalization", "RMSNorm"),
    "RepeatVector": ("RepeatVector", ""),
    "Reshape": ("Reshape", "Unflatten"),
    "Residual": ("", ""),
    "SeparableConv2D": ("SeparableConv2D", ""),
    "Sequential": ("", "Sequential"),
    "SimpleRNN": ("SimpleRNN", "RNN"),
    "SpatialDropout": ("SpatialDropout1D SpatialDropout2D", "Dropout1d Dropout2d"),
    "Standardize": ("Normalization", ""),
    "SwiGLU": ("", ""),
    "TimeDistributed": ("TimeDistributed", ""),
    "TransformerBlock": ("", "TransformerEncoderLayer"),
    "UpSampling": ("UpSampling1D UpSampling2D", "Upsample UpsamplingNearest2d"),
    "WithState": ("", ""),
    "ZeroPadding": ("ZeroPadding1D ZeroPadding2D", "ZeroPad1d ZeroPad2d"),
    # Activations
    "CELU": ("celu", "CELU"),
    "ELU": ("elu ELU", "ELU"),
    "GELU": ("gelu", "GELU"),
    "HardShrink": ("hard_shrink", "Hardshrink"),
    "HardSiLU": ("hard_silu hard_swish", "Hardswish"),
    "HardSigmoid": ("hard_sigmoid", "Hardsigmoid"),
    "HardTanh": ("hard_tanh", "Hardtanh"),
    "Identity": ("linear Identity", "Identity"),
    "LeakyReLU": ("leaky_relu LeakyReLU", "LeakyReLU"),
    "LogSigmoid": ("log_sigmoid", "LogSigmoid"),
    "LogSoftmax": ("log_softmax", "LogSoftmax"),
    "Mish": ("mish", "Mish"),
    "ReLU": ("relu ReLU", "ReLU"),
    "ReLU6": ("relu6", "ReLU6"),
    "SELU": ("selu", "SELU"),
    "SiLU": ("silu swish", "SiLU"),
    "Sigmoid": ("sigmoid", "Sigmoid"),
    "SoftShrink": ("soft_shrink", "Softshrink"),
    "Softmax": ("softmax Softmax", "Softmax"),
    "Softmin": ("", "Softmin"),
    "Softplus": ("softplus", "Softplus"),
    "Softsign": ("softsign", "Softsign"),
    "Sparsemax": ("sparsemax", ""),
    "Squareplus": ("squareplus", ""),
    "Tanh": ("tanh", "Tanh"),
    "TanhShrink": ("tanh_shrink", "Tanhshrink"),
    "Threshold": ("threshold", "Threshold"),
    # Losses
    "CTC": ("CTC", "CTCLoss"),
    "CategoricalFocal": ("CategoricalFocalCrossentropy", ""),
    "CategoricalHinge": ("CategoricalHinge", "MultiMarginLoss"),
    "Contrastive": ("", "HingeEmbeddingLoss"),
    "Dice": ("Dice", ""),
    "GaussianNLL": ("", "GaussianNLLLoss"),
    "MeanAbsolutePercentageError": ("MeanAbsolutePercentageError", ""),
    "MeanSquaredLogarithmicError": ("MeanSquaredLogarithmicError", ""),
    "NegativeBinomial": ("", ""),
    "Quantile": ("", ""),
    "SquaredHinge": ("SquaredHinge", ""),
    "Triplet": ("", "TripletMarginLoss"),
    "Tversky": ("Tversky", ""),
    "AbsoluteError": ("MeanAbsoluteError", "L1Loss"),
    "CosineDistance": ("CosineSimilarity", "CosineEmbeddingLoss"),
    "Focal": ("BinaryFocalCrossentropy", ""),
    "HalfSquaredError": ("", ""),
    "Hinge": ("Hinge", ""),
    "Huber": ("Huber", "HuberLoss SmoothL1Loss"),
    "KLDivergence": ("KLDivergence", "KLDivLoss"),
    "LogCosh": ("LogCosh", ""),
    "Losses": ("", ""),
    "MeanSquaredError": ("MeanSquaredError", "MSELoss"),
    "Poisson": ("Poisson", "PoissonNLLLoss"),
    "SigmoidCrossEntropy": (
        "BinaryCrossentropy",
        "BCEWithLogitsLoss BCELoss MultiLabelSoftMarginLoss SoftMarginLoss",
    ),
    "SoftmaxCrossEntropy": (
        "CategoricalCrossentropy SparseCategoricalCrossentropy",
        "CrossEntropyLoss NLLLoss NLLLoss2d",
    ),
    # Metrics
    "AUC": ("AUC", ""),
    "AveragePrecision": ("AUC", ""),
    "BalancedAccuracy": ("", ""),
    "Brier": ("", ""),
    "CalibrationError": ("", ""),
    "CohenKappa": ("", ""),
    "ConcordanceCorrelation": ("ConcordanceCorrelation", ""),
    "ExplainedVariance": ("", ""),
    "FBeta": ("FBetaScore", ""),
    "HammingLoss": ("", ""),
    "LogLoss": ("BinaryCrossentropy CategoricalCrossentropy SparseCategoricalCrossentropy", ""),
    "LossMetric": (
        "CategoricalHinge CosineSimilarity Hinge KLDivergence LogCoshError MeanMetricWrapper "
        "MeanSquaredError MeanSquaredLogarithmicError Poisson SquaredHinge",
        "",
    ),
    "MAPE": ("MeanAbsolutePercentageError", ""),
    "MatthewsCorrelation": ("", ""),
    "MeanIoU": ("MeanIoU IoU BinaryIoU OneHotIoU OneHotMeanIoU", ""),
    "PearsonCorrelation": ("PearsonCorrelation", ""),
    "PrecisionAtRecall": ("PrecisionAtRecall", ""),
    "PrecisionRecallCurve": ("", ""),
    "ROCCurve": ("", ""),
    "RecallAtPrecision": ("RecallAtPrecision", ""),
    "SensitivityAtSpecificity": ("SensitivityAtSpecificity", ""),
    "SpearmanCorrelation": ("", ""),
    "Specificity": ("", ""),
    "SpecificityAtSensitivity": ("SpecificityAtSensitivity", ""),
    "Weighted": ("", ""),
    "Accuracy": (
        "Accuracy BinaryAccuracy CategoricalAccuracy SparseCategoricalAccuracy",
        "",
    ),
    "ConfusionMatrix": ("TruePositives TrueNegatives FalsePositives FalseNegatives", ""),
    "F1Score": ("F1Score", ""),
    "ForOutput": ("", ""),
    "MeanAbsoluteError": ("MeanAbsoluteError", ""),
    "Precision": ("Precision", ""),
    "R2Score": ("R2Score", ""),
    "Recall": ("Recall", ""),
    "RootMeanSquaredError": ("RootMeanSquaredError", ""),
    "SquaredDistance": ("", ""),
    "TopKAccuracy": ("TopKCategoricalAccuracy SparseTopKCategoricalAccuracy", ""),
    # Optimizers and schedules
    "Adafactor": ("Adafactor", "Adafactor"),
    "Adamax": ("Adamax", "Adamax"),
    "FTRL": ("Ftrl", ""),
    "Lamb": ("Lamb", ""),
    "Muon": ("Muon", "Muon"),
    "RAdam": ("", "RAdam"),
    "Rprop": ("", "Rprop"),
    "ScheduleFreeAdamW": ("ScheduleFreeAdamW", ""),
    "ChainedSchedule": ("", "SequentialLR"),
    "CosineRestarts": ("CosineDecayRestarts", "CosineAnnealingWarmRestarts"),
    "InverseTime": ("InverseTimeDecay", ""),
    "OneCycle": ("", "OneCycleLR"),
    "PiecewiseConstant": ("PiecewiseConstantDecay", "MultiStepLR"),
    "Polynomial": ("PolynomialDecay", "PolynomialLR LinearLR"),
    "Adadelta": ("Adadelta", "Adadelta"),
    "Adagrad": ("Adagrad", "Adagrad"),
    "Adam": ("Adam", "Adam"),
    "AdamW": ("AdamW", "AdamW"),
    "LBFGS": ("", "LBFGS"),
    "Lion": ("Lion", ""),
    "NAdam": ("Nadam", "NAdam"),
    "RMSprop": ("RMSprop", "RMSprop"),
    "SGD": ("SGD", "SGD"),
    "Cosine": ("CosineDecay", "CosineAnnealingLR"),
    "Exponential": ("ExponentialDecay", "ExponentialLR"),
    "Step": ("", "StepLR"),
    "Warmup": ("", "LinearLR SequentialLR"),
    # Initializers, regularizers and constraints
    "Constant": ("Constant Ones", "constant_ ones_"),
    "GlorotNormal": ("GlorotNormal", "xavier_normal_"),
    "GlorotUniform": ("GlorotUniform", "xavier_uniform_"),
    "HeNormal": ("HeNormal", "kaiming_normal_"),
    "HeUniform": ("HeUniform", "kaiming_uniform_"),
    "LecunNormal": ("LecunNormal", ""),
    "Normal": ("RandomNormal", "normal_"),
    "Orthogonal": ("Orthogonal", "orthogonal_"),
    "Uniform": ("RandomUniform", "uniform_"),
    "Zeros": ("Zeros", "zeros_"),
    "L1": ("L1 L1L2", ""),
    "L2": ("L2 L1L2", ""),
    "MaxNorm": ("MaxNorm", ""),
    "MinMaxNorm": ("MinMaxNorm", ""),
    "NonNegative": ("NonNeg", ""),
    "UnitNorm": ("UnitNorm", ""),
    # Callbacks
    "RecordLearningRate": ("", ""),
    "CSVLogger": ("CSVLogger", ""),
    "EarlyStopping": ("EarlyStopping", ""),
    "JSONLogger": ("", ""),
    "LambdaCallback": ("LambdaCallback", ""),
    "LearningRateSchedule": ("LearningRateScheduler", "LambdaLR"),
    "ModelCheckpoint": ("ModelCheckpoint BackupAndRestore", ""),
    "ProgressBar": ("ProgbarLogger", ""),
    "ReduceOnPlateau": ("ReduceLROnPlateau", "ReduceLROnPlateau"),
    "StopAt": ("", ""),
    "TensorBoard": ("TensorBoard", ""),
    "WeightAverage": ("SwapEMAWeights", ""),
}

# Names of the peers that no class stands for: a pattern of "module.name", and why.
REASONS = {
    r".*(3D|3d)": "volumes are not what a CPU trains",
    r".*\.(Lazy.*|Adaptive.*)": "layers learn shapes where a model is built; sizes are written out",
    r"keras\.layers\.(AvgPool|MaxPool|GlobalAvgPool|GlobalMaxPool|Convolution|SeparableConvolution)"
    r".*": "a second name of a layer above",
    r"keras\.(initializers|regularizers|constraints)\.([a-z].*|.*Initializer)": "a second name",
    r"keras\.activations\.(get|serialize|deserialize)": "names in files are the classes' own",
    r".*\.(Layer|Module|Loss|Metric|Optimizer|Initializer|Regularizer|Constraint|Callback|Wrapper)":
        "the base class, of the same name here: Layer, Loss, Metric, Optimizer, ...",
    r"keras\.layers\.(Random.*|AugMix|AutoContrast|CenterCrop|Contrast.*|CutMix|Equalization|MixUp|"
    r"RandAugment|Resizing|Solarization|MaxNumBoundingBoxes)": "images are changed by the batches' "
        "generator, before training",
    r"keras\.layers\.(CategoryEncoding|Discretization|Hash.*|IntegerLookup|StringLookup|"
    r"TextVectorization|Rescaling|Pipeline|MelSpectrogram|STFTSpectrogram)":
        "tables are prepared by the data's reader, or by scikit-learn",
    r"keras\.layers\.(FlaxLayer|JaxLayer|TFSMLayer|TorchModuleWrapper|InputSpec|Lambda)":
        "wraps another framework's code; a Layer of one's own is some lines",
    r"keras\.layers\.(.*Cell|StackedRNNCells|RNN)|torch\.nn\.(.*Cell|RNNBase|RNNCellBase)":
        "a layer's step takes one element at a time; Chain stacks layers",
    r"keras\.layers\.ConvLSTM.*": "of videos",
    r".*\.(STFT.*)": "of audio",
    r"keras\.metrics\.(Mean|Sum)": "a Metric of one's own is some lines",
    r"keras\.(losses|metrics|optimizers|callbacks)\..*|torch\.optim\..*|torch\.nn\.init\..*":
        "not yet",
    r"keras\.optimizers\.schedules\..*": "not yet",
    r"torch\.nn\.(Container|ModuleDict|ModuleList|ParameterDict|ParameterList)":
        "a layer keeps its parts as attributes, by add_layer",
    r"torch\.nn\.(DataParallel)": "Trainer(communicator=MPICommunicator())",
    r"torch\.nn\.Transformer(Encoder|Decoder)?": "Sequential([TransformerBlock(...), ...])",
    r".*": "not yet",
}  # fmt: skip


def classes(base):
    """List the public classes of a family that are no base classes."""
    found = [getattr(layerkit, name) for name in layerkit.__all__]
    kinds = [kind for kind in found if isinstance(kind, type) and issubclass(kind, base)]
    return [kind for kind in kinds if not inspect.isabstract(kind) and kind is not base]


def linked(kind):
    """Return the name of a class as a link to its source."""
    path = Path(inspect.getfile(kind)).relative_to(ROOT)
    return f"[{kind.__name__}](../{path})"


def first_line(kind):
    """Return the summary of a class."""
    line = (inspect.getdoc(kind) or "").partition("\n")[0]
    return line.replace("|", "\\|")


def names_of(kind, module):
    """Return what a class is called in a module of Keras or torch."""
    return PEERS[kind.__name__][module.startswith("torch")].split()


def ours():
    """Write a table of each family: each class, what it is, and its peers."""
    for title, base in FAMILIES.items():
        yield from ["", f"### {title}", "", "| layerkit | | Keras | torch |", "|---|---|---|---|"]
        for kind in sorted(classes(base), key=lambda kind: kind.__name__.lower()):
            keras, torch = (names.replace(" ", ", ") for names in PEERS[kind.__name__])
            yield f"| {linked(kind)} | {first_line(kind)} | {keras} | {torch} |"


def theirs():
    """Write a table of each module of the peers: each name, and what stands for it."""
    for module, names in json.loads(NAMES.read_text(encoding="utf-8"))["names"].items():
        found, reasons = [], {}
        kinds = [kind for base in MODULES[module] for kind in classes(base)]
        for name in names:
            same = [kind.__name__ for kind in kinds if name in names_of(kind, module)]
            if same:
                found.append(f"| {name} | {', '.join(same)} |")
            else:
                pattern = next(p for p in REASONS if re.fullmatch(p, f"{module}.{name}"))
                reasons.setdefault(REASONS[pattern], []).append(name)
        yield from ["", f"### {module}", "", f"| {module} | layerkit |", "|---|---|", *found]
        yield from (f"| {', '.join(left)} | {why} |" for why, left in reasons.items())


def page():
    """Return the whole page."""
    return "\n".join([
        "# What there is, and its names elsewhere",
        "",
        "Written by `python docs/peers.py`, from the code and the names of Keras and torch.",
        "",
        "The compiled engine trains chains of `Dense`, with any elementwise activation and the",
        "losses and metrics that `trainer.engine_used` does not name; NumPy trains all else, and",
        "`engine_used.reason` says what asked for it. `Replicas` of models with other layers than",
        "`Dense` train one after the other, each by NumPy.",
        "",
        "## By what there is here",
        *ours(),
        "",
        "## By what there is elsewhere",
        *theirs(),
        "",
    ])  # fmt: skip


if __name__ == "__main__":
    (ROOT / "docs" / "peers.md").write_text(page(), encoding="utf-8")
