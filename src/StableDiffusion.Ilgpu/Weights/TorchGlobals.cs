namespace StableDiffusion.Ilgpu.Weights;

/// <summary>What our reader does where a pickle calls a known name. There is nothing else that it could do.</summary>
internal enum TorchGlobalKind
{
    OrderedDictionary, ParameterDictionary, Set, Size, RebuildTensor, RebuildTypedTensor, RebuildParameter, RebuildFromType, Storage, Opaque,
}

/// <summary>A known Python name.</summary>
/// <param name="Name">Module and name, joined by a dot.</param>
/// <param name="Kind">What it stands for.</param>
/// <param name="Type">A storage's element type, or the type that a name of PyTorch's stands for.</param>
internal sealed record TorchGlobal(string Name, TorchGlobalKind Kind, TensorType? Type = null) : TorchOpaque(Name);

/// <summary>
/// The Python names that a pickle may contain; any other is refused. Those of <see cref="TorchGlobalKind.Opaque"/> stand beside the
/// tensors in checkpoints of training and in embeddings: they become objects with a name and nothing else.
/// </summary>
internal static class TorchGlobals
{
    private static readonly string[] Opaque =
    [
        "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.core.multiarray._reconstruct",
        "numpy._core.multiarray._reconstruct", "numpy.ndarray", "numpy.dtype", "_codecs.encode",
        "torch.device", "torch.float16", "torch.float32", "torch.float64", "torch.bfloat16", "torch.int64", "torch.int32", "torch.uint8",
        "torch.bool", "torch.Tensor", "torch.nn.parameter.Parameter",
        "argparse.Namespace", "collections.Counter", "collections.defaultdict", "datetime.datetime", "datetime.timedelta",
        "pathlib.PosixPath", "pathlib.WindowsPath", "pathlib._local.PosixPath", "pathlib._local.WindowsPath", "typing.Any",
        "__builtin__.dict", "__builtin__.list", "__builtin__.int", "builtins.dict", "builtins.list", "builtins.int",
    ];

    /// <summary>Libraries whose classes training writes into checkpoints: callbacks, settings.</summary>
    private static readonly string[] OpaqueLibraries = ["pytorch_lightning.", "lightning.", "lightning_fabric.", "omegaconf."];

    private static readonly Dictionary<string, TorchGlobal> Known = new[]
    {
        new TorchGlobal("collections.OrderedDict", TorchGlobalKind.OrderedDictionary),
        new TorchGlobal("torch.nn.modules.container.ParameterDict", TorchGlobalKind.ParameterDictionary),
        new TorchGlobal("__builtin__.set", TorchGlobalKind.Set),
        new TorchGlobal("builtins.set", TorchGlobalKind.Set),
        new TorchGlobal("__builtin__.frozenset", TorchGlobalKind.Set),
        new TorchGlobal("builtins.frozenset", TorchGlobalKind.Set),
        new TorchGlobal("torch.Size", TorchGlobalKind.Size),
        new TorchGlobal("torch._utils._rebuild_tensor_v2", TorchGlobalKind.RebuildTensor),
        new TorchGlobal("torch._utils._rebuild_tensor_v3", TorchGlobalKind.RebuildTypedTensor),
        new TorchGlobal("torch._utils._rebuild_parameter", TorchGlobalKind.RebuildParameter),
        new TorchGlobal("torch._utils._rebuild_parameter_with_state", TorchGlobalKind.RebuildParameter),
        new TorchGlobal("torch._tensor._rebuild_from_type_v2", TorchGlobalKind.RebuildFromType),
        new TorchGlobal("torch.float8_e4m3fn", TorchGlobalKind.Opaque, TensorType.F8_E4M3),
        new TorchGlobal("torch.float8_e5m2", TorchGlobalKind.Opaque, TensorType.F8_E5M2),
        new TorchGlobal("torch.DoubleStorage", TorchGlobalKind.Storage, TensorType.F64),
        new TorchGlobal("torch.FloatStorage", TorchGlobalKind.Storage, TensorType.F32),
        new TorchGlobal("torch.HalfStorage", TorchGlobalKind.Storage, TensorType.F16),
        new TorchGlobal("torch.BFloat16Storage", TorchGlobalKind.Storage, TensorType.BF16),
        new TorchGlobal("torch.LongStorage", TorchGlobalKind.Storage, TensorType.I64),
        new TorchGlobal("torch.IntStorage", TorchGlobalKind.Storage, TensorType.I32),
        new TorchGlobal("torch.ShortStorage", TorchGlobalKind.Storage, TensorType.I16),
        new TorchGlobal("torch.CharStorage", TorchGlobalKind.Storage, TensorType.I8),
        new TorchGlobal("torch.ByteStorage", TorchGlobalKind.Storage, TensorType.U8),
        new TorchGlobal("torch.storage.UntypedStorage", TorchGlobalKind.Storage, TensorType.U8),
        new TorchGlobal("torch.BoolStorage", TorchGlobalKind.Storage, TensorType.Bool),
    }.Concat(Opaque.Select(n => new TorchGlobal(n, TorchGlobalKind.Opaque))).ToDictionary(g => g.Name);

    /// <summary>Null for a name that is refused.</summary>
    public static TorchGlobal? Find(string name) => Known.GetValueOrDefault(name)
        ?? (OpaqueLibraries.Any(l => name.StartsWith(l, StringComparison.Ordinal)) ? new TorchGlobal(name, TorchGlobalKind.Opaque) : null);
}
