"""A transformer that learns five sonnets of Shakespeare's by heart, character by character."""

from pathlib import Path

import numpy as np

from layerkit import (
    Accuracy,
    Adam,
    Cosine,
    Dense,
    Embedding,
    LayerNorm,
    LearningRateSchedule,
    PositionalEmbedding,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
    TransformerBlock,
)

text = Path(__file__).with_name("sonnets.txt").read_text(encoding="utf-8")
letters = sorted(set(text))
ids = np.array([letters.index(letter) for letter in text])
length, width = 32, 64

model = Sequential(
    [
        Embedding(len(letters), width),
        PositionalEmbedding(length, width),
        TransformerBlock(width, 4, 4 * width, causal=True),
        TransformerBlock(width, 4, 4 * width, causal=True),
        LayerNorm(),
        Dense(width, len(letters)),
    ],
    input_shape=(None,),
    dtype="float32",
    seed=0,
)
windows = np.lib.stride_tricks.sliding_window_view(ids, length + 1)
schedule = LearningRateSchedule(Cosine(10))
trainer = Trainer(
    model, SoftmaxCrossEntropy(), Adam(0.005), metrics=[Accuracy()], callbacks=[schedule], seed=0
)
history = trainer.fit(windows[:, :-1], windows[:, 1:], epochs=10, batch_size=64)
print(f"{history['accuracy'][-1]:.3f} of the next characters right")

written = list(ids[:30])
for _ in range(150):
    logits = model.predict([written[-length:]])[0, -1]
    written.append(int(logits.argmax()))
print("".join(letters[letter] for letter in written))
