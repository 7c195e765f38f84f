"""What to say about a name that PyTorch has and Lampion lacks.

Read only when an attribute was not found. The lists are PyTorch 2.13's names; whichever of them exist in
Lampion never get here.
"""

from __future__ import annotations

#: What to use instead. Names of functions, or of methods, or of both.
INSTEAD = {
    "cuda": 'arrays live on the CPU for now: leave .cuda() out, or ask for the device "cpu"',
    "xpu": "arrays live on the CPU for now",
    "ipu": "arrays live on the CPU for now",
    "mps": "the CPU is the device",
    "storage": "x.numpy() for the memory, x.data_ptr() and x.storage_offset() for where it lies",
    "untyped_storage": "x.numpy() for the memory, x.data_ptr() and x.storage_offset() for where it lies",
    "storage_type": "x.dtype",
    "layout": "every tensor is strided; x.stride() says how",
    "map_": "operations on whole tensors, or from_numpy(numpy.vectorize(f)(x.numpy()))",
    "map2_": "operations on whole tensors",
    "apply_": "operations on whole tensors",
    "share_memory_": "x.numpy() over multiprocessing.shared_memory",
    "is_shared": "x.numpy()",
    "pin_memory": "nothing: there is no GPU memory to copy to yet",
    "is_pinned": "False",
    "names": "numbered dimensions",
    "rename": "numbered dimensions",
    "refine_names": "numbered dimensions",
    "align_to": "permute",
    "align_as": "permute",
    "to_sparse": "dense tensors: Lampion has no sparse ones",
    "to_dense": "the tensor: it is dense",
    "coalesce": "dense tensors: Lampion has no sparse ones",
    "chalf": "x.cfloat(): there is no complex32",
    "complex32": "lampion.complex64",
    "chalf_": "x.cfloat()",
    "jit": "lampion.compile",
    "fx": "lampion.compile and its explain()",
    "export": "lampion.compile",
    "set_default_device": "nothing: the CPU is the only device yet",
    "set_default_tensor_type": "lampion.set_default_dtype",
    "use_deterministic_algorithms": "nothing: Lampion's results are the same in every run",
    "are_deterministic_algorithms_enabled": "True: they always are",
    "hub": "lampion.load for files of tensors",
    "multiprocessing": "Python's multiprocessing",
    "distributions": "the samplers lampion.randn, rand, randint",
    "get_num_interop_threads": "lampion.get_num_threads",
    "set_num_interop_threads": "lampion.set_num_threads",
    "chain_matmul": "lampion.linalg.multi_dot",
    "symeig": "lampion.linalg.eigh",
    "lstsq": "lampion.linalg.lstsq",
    "resize_": "reshape, or lampion.empty and a copy",
    "resize_as_": "reshape, or lampion.empty_like and a copy",
    "conv1d": "lampion.nn.functional.conv1d",
    "conv2d": "lampion.nn.functional.conv2d",
    "conv3d": "lampion.nn.functional.conv3d",
    "conv_transpose1d": "lampion.nn.functional.conv_transpose1d",
    "conv_transpose2d": "lampion.nn.functional.conv_transpose2d",
    "conv_transpose3d": "lampion.nn.functional.conv_transpose3d",
    "max_pool1d": "lampion.nn.functional.max_pool1d",
    "max_pool2d": "lampion.nn.functional.max_pool2d",
    "max_pool3d": "lampion.nn.functional.max_pool3d",
    "avg_pool1d": "lampion.nn.functional.avg_pool1d",
    "adaptive_avg_pool1d": "lampion.nn.functional.adaptive_avg_pool1d",
    "adaptive_max_pool1d": "lampion.nn.functional.adaptive_max_pool1d",
    "grid_sampler": "lampion.nn.functional.grid_sample",
    "affine_grid_generator": "lampion.nn.functional.affine_grid",
    "dropout": "lampion.nn.functional.dropout",
    "layer_norm": "lampion.nn.functional.layer_norm",
    "batch_norm": "lampion.nn.functional.batch_norm",
    "embedding": "lampion.nn.functional.embedding",
    "bilinear": "lampion.nn.functional.bilinear",
    "threshold": "lampion.nn.functional.threshold",
    "from_file": "lampion.from_numpy(numpy.memmap(...))",
    "Storage": "lampion.frombuffer",
}

#: Families that Lampion leaves out, by a piece of the name.
FAMILIES = {
    "sparse": "Lampion has no sparse tensors",
    "crow_indices": "Lampion has no sparse tensors",
    "quant": "Lampion has no quantised tensors",
    "q_": "Lampion has no quantised tensors",
    "qint": "Lampion has no quantised types",
    "mkldnn": "the compiler makes its own machine code",
    "conv": "see lampion.nn.functional.conv2d and its kin",
    "pool": "see lampion.nn.functional.max_pool2d and its kin",
    "rnn": "see lampion.nn.RNN",
    "lstm": "see lampion.nn.LSTM",
    "gru": "see lampion.nn.GRU",
    "cuda": "there is no GPU yet",
    "autocast": "types are explicit: x.to(lampion.bfloat16)",
    "_copy": "the operation without _copy, then clone()",
}

METHODS = frozenset(
    """
    H T abs abs_ absolute absolute_ acos acos_ acosh acosh_ add add_ addbmm addbmm_ addcdiv addcdiv_
    addcmul addcmul_ addmm addmm_ addmv addmv_ addr addr_ adjoint all allclose amax amin aminmax angle
    any apply_ arccos arccos_ arccosh arccosh_ arcsin arcsin_ arcsinh arcsinh_ arctan arctan2 arctan2_
    arctan_ arctanh arctanh_ argmax argmin argsort argwhere as_strided as_strided_ as_strided_scatter
    as_subclass asin asin_ asinh asinh_ atan atan2 atan2_ atan_ atanh atanh_ backward baddbmm baddbmm_
    bernoulli bernoulli_ bfloat16 bincount bitwise_and bitwise_and_ bitwise_left_shift
    bitwise_left_shift_ bitwise_not bitwise_not_ bitwise_or bitwise_or_ bitwise_right_shift
    bitwise_right_shift_ bitwise_xor bitwise_xor_ bmm bool broadcast_to byte cauchy_ ccol_indices
    cdouble ceil ceil_ cfloat chalf char cholesky cholesky_inverse cholesky_solve chunk clamp clamp_
    clamp_max clamp_max_ clamp_min clamp_min_ clip clip_ clone coalesce col_indices conj conj_physical
    conj_physical_ const_data_ptr contiguous copy_ copysign copysign_ corrcoef cos cos_ cosh cosh_
    count_nonzero cov cpu cross crow_indices cuda cummax cummin cumprod cumprod_ cumsum cumsum_ data
    data_ptr deg2rad deg2rad_ dense_dim dequantize det detach detach_ device diag diag_embed diagflat
    diagonal diagonal_scatter diff digamma digamma_ dim dim_order dist div div_ divide divide_ dot
    double dsplit dtype eig element_size eq eq_ equal erf erf_ erfc erfc_ erfinv erfinv_ exp exp2 exp2_
    exp_ expand expand_as expm1 expm1_ exponential_ fill_ fill_diagonal_ fix fix_ flatten flip fliplr
    flipud float float_power float_power_ floor floor_ floor_divide floor_divide_ fmax fmin fmod fmod_
    frac frac_ frexp gather gcd gcd_ ge ge_ geometric_ geqrf ger get_device grad grad_dtype grad_fn
    greater greater_ greater_equal greater_equal_ gt gt_ half hardshrink hash_tensor heaviside
    heaviside_ histc histogram hsplit hypot hypot_ i0 i0_ igamma igamma_ igammac igammac_ imag index
    index_add index_add_ index_copy index_copy_ index_fill index_fill_ index_put index_put_ index_reduce
    index_reduce_ index_select indices inner int int_repr inverse ipu is_coalesced is_complex is_conj
    is_contiguous is_cpu is_cuda is_distributed is_floating_point is_inference is_ipu is_leaf is_maia
    is_meta is_mkldnn is_mps is_mtia is_neg is_nested is_nonzero is_pinned is_quantized is_same_size
    is_set_to is_shared is_signed is_sparse is_sparse_csr is_vulkan is_xla is_xpu isclose isfinite isinf
    isnan isneginf isposinf isreal istft item itemsize kron kthvalue layout lcm lcm_ ldexp ldexp_ le le_
    lerp lerp_ less less_ less_equal less_equal_ lgamma lgamma_ log log10 log10_ log1p log1p_ log2 log2_
    log_ log_normal_ log_softmax logaddexp logaddexp2 logcumsumexp logdet logical_and logical_and_
    logical_not logical_not_ logical_or logical_or_ logical_xor logical_xor_ logit logit_ logsumexp long
    lstsq lt lt_ lu lu_solve mH mT map2_ map_ masked_fill masked_fill_ masked_scatter masked_scatter_
    masked_select matmul matrix_exp matrix_power max maximum mean median min minimum mm mode module_load
    moveaxis movedim msort mtia mul mul_ multinomial multiply multiply_ mv mvlgamma mvlgamma_ name
    nan_to_num nan_to_num_ nanmean nanmedian nanquantile nansum narrow narrow_copy nbytes ndim
    ndimension ne ne_ neg neg_ negative negative_ nelement new new_empty new_empty_strided new_full
    new_ones new_tensor new_zeros nextafter nextafter_ nonzero nonzero_static norm normal_ not_equal
    not_equal_ numel numpy orgqr ormqr outer output_nr permute pin_memory pinverse polygamma polygamma_
    positive pow pow_ prelu prod put put_ q_per_channel_axis q_per_channel_scales
    q_per_channel_zero_points q_scale q_zero_point qr qscheme quantile rad2deg rad2deg_ random_ ravel
    real reciprocal reciprocal_ record_stream register_hook register_post_accumulate_grad_hook reinforce
    relu relu_ remainder remainder_ renorm renorm_ repeat repeat_interleave requires_grad requires_grad_
    reshape reshape_as resize resize_ resize_as resize_as_ resize_as_sparse_ resolve_conj resolve_neg
    retain_grad retains_grad roll rot90 round round_ row_indices rsqrt rsqrt_ scatter scatter_
    scatter_add scatter_add_ scatter_reduce scatter_reduce_ select select_scatter set_ sgn sgn_ shape
    share_memory_ short sigmoid sigmoid_ sign sign_ signbit sin sin_ sinc sinc_ sinh sinh_ size
    slice_inverse slice_scatter slogdet smm softmax solve sort sparse_dim sparse_mask sparse_resize_
    sparse_resize_and_clear_ split split_with_sizes sqrt sqrt_ square square_ squeeze squeeze_ sspaddmm
    std stft storage storage_offset storage_type stride sub sub_ subtract subtract_ sum sum_to_size svd
    swapaxes swapaxes_ swapdims swapdims_ symeig t t_ take take_along_dim tan tan_ tanh tanh_
    tensor_split tile to to_dense to_mkldnn to_padded_tensor to_sparse to_sparse_bsc to_sparse_bsr
    to_sparse_coo to_sparse_csc to_sparse_csr tolist topk trace transpose transpose_ triangular_solve
    tril tril_ triu triu_ true_divide true_divide_ trunc trunc_ type type_as unbind unflatten unfold
    uniform_ unique unique_consecutive unsafe_chunk unsafe_split unsafe_split_with_sizes unsqueeze
    unsqueeze_ untyped_storage values var vdot view view_as volatile vsplit where xlogy xlogy_ xpu zero_
    """.split()  # noqa: SIM905  # in quotes, the names would be twice as long
)

FUNCTIONS = frozenset(
    """
    accelerator adaptive_avg_pool1d adaptive_max_pool1d affine_grid_generator alias_copy alpha_dropout
    alpha_dropout_ arange are_deterministic_algorithms_enabled as_strided_copy as_tensor asarray
    atleast_1d atleast_2d atleast_3d autocast avg_pool1d bartlett_window batch_norm bilinear
    binary_cross_entropy_with_logits binomial blackman_window block_diag broadcast_shapes
    broadcast_tensors bucketize can_cast cartesian_prod cat ccol_indices_copy cdist celu celu_
    chain_matmul channel_shuffle col_indices_copy column_stack combinations compile complex complex128
    complex32 complex64 concat concatenate constant_pad_nd conv1d conv2d conv3d conv_tbc
    conv_transpose1d conv_transpose2d conv_transpose3d convolution cosine_embedding_loss
    cosine_similarity crow_indices_copy ctc_loss cumulative_trapezoid detach_copy diagonal_copy dropout
    dropout_ dsmm dstack einsum embedding embedding_bag embedding_renorm_ empty empty_like
    empty_permuted empty_quantized empty_strided enable_grad expand_copy eye feature_alpha_dropout
    feature_alpha_dropout_ feature_dropout feature_dropout_ fill finfo float16 float32 float64
    frobenius_norm from_dlpack from_file from_numpy frombuffer full full_like
    fused_moving_avg_obs_fake_quant get_default_device get_default_dtype get_deterministic_debug_mode
    get_float32_matmul_precision get_num_interop_threads get_num_threads get_rng_state gradient
    grid_sampler grid_sampler_2d grid_sampler_3d group_norm gru gru_cell hamming_window hann_window
    hinge_embedding_loss histogramdd hsmm hstack iinfo indices_copy inference_mode initial_seed
    instance_norm int16 int32 int64 int8 is_anomaly_check_nan_enabled is_anomaly_enabled
    is_deterministic_algorithms_warn_only_enabled is_grad_enabled is_inference_mode_enabled is_storage
    is_tensor is_vulkan_available is_warn_always_enabled isin kaiser_window kl_div layer_norm linspace
    load lobpcg logspace lstm lstm_cell lu_unpack manual_seed margin_ranking_loss matrix_rank max_pool1d
    max_pool1d_with_indices max_pool2d max_pool3d memory_format meshgrid no_grad norm_except_dim normal
    nuclear_norm ones ones_like pairwise_distance pca_lowrank pdist permute_copy pixel_shuffle
    pixel_unshuffle poisson poisson_nll_loss polar promote_types rand rand_like randint randint_like
    randn randn_like random randperm range result_type rms_norm rnn_relu rnn_relu_cell rnn_tanh
    rnn_tanh_cell row_indices_copy row_stack rrelu rrelu_ rsub save scalar_tensor searchsorted seed
    select_copy selu selu_ set_anomaly_enabled set_default_device set_default_dtype
    set_default_tensor_type set_deterministic_debug_mode set_float32_matmul_precision set_flush_denormal
    set_grad_enabled set_num_interop_threads set_num_threads set_printoptions set_rng_state
    set_warn_always slice_copy split_copy split_with_sizes_copy spmm squeeze_copy stack std_mean
    svd_lowrank t_copy tensordot threshold threshold_ to_dlpack transpose_copy trapezoid trapz
    tril_indices triplet_margin_loss triu_indices uint16 uint32 uint64 uint8 unbind_copy unfold_copy
    unravel_index unsqueeze_copy use_deterministic_algorithms values_copy vander var_mean
    view_as_complex view_as_complex_copy view_as_real view_as_real_copy view_copy vmap vstack zeros
    zeros_like
    """.split()  # noqa: SIM905  # the same
)


def missing_method(owner: str, name: str) -> str:
    """The message for ``x.name``."""
    if name.startswith("_") or name not in METHODS:
        return f"'{owner}' object has no attribute {name!r}"
    import lampion

    found = f"lampion.{name}(x, ...)" if name in lampion.__all__ else ""
    return _message(f"torch.Tensor has {name!r}, Lampion's {owner} does not", name, found)


def missing_function(name: str) -> str:
    """The message for ``lampion.name``."""
    if name.startswith("_") or name not in METHODS | FUNCTIONS | INSTEAD.keys():
        return f"module 'lampion' has no attribute {name!r}"
    from lampion.tensor import Tensor

    found = f"x.{name}(...)" if hasattr(Tensor, name) else ""
    return _message(f"torch has {name!r}, Lampion does not", name, found)


def _message(problem: str, name: str, found: str) -> str:
    instead = found or INSTEAD.get(name, "") or INSTEAD.get(name.rstrip("_"), "")
    if instead:
        return f"{problem}; use instead: {instead}"
    reason = next((reason for piece, reason in FAMILIES.items() if piece in name), "")
    if reason:
        return f"{problem}: {reason}"
    return f"{problem}; compose it of operations that exist: see dir(lampion)"
