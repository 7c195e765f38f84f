"""torch's samples for attention."""

import torch

# Torch's fused attention has no second derivative; what it composes has. (The switch is for CPUs too.)
torch.backends.cuda.enable_flash_sdp(False)

EXCLUDED = {
    "nn.functional.scaled_dot_product_attention": {
        "what is dropped is drawn": lambda sample: sample.kwargs.get("dropout_p")
    }
}

#: test_moduleinfo.py compares the layers that call it.
LEFT_OUT = {"nn.functional.multi_head_attention_forward": "of its samples, all with gradients draw a dropout"}

#: PyTorch says that it has second derivatives, and has none.
ONCE = {"nn.functional.ctc_loss"}

# The samples' scores are in the hundreds, where one ulp of float32 changes a weight by 2e-5 of itself.
SINGLE = {"nn.functional.scaled_dot_product_attention": {"rtol": 1e-4, "atol": 1e-4}}
