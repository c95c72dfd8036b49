using System.Text;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu.Tests.Samples;

/// <summary>Files in the format of torch.save, made without PyTorch.</summary>
internal static class TorchFileWriter
{
    public const string Archive = "archive";

    public static readonly SampleGlobal ModelCheckpoint = new("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint");

    /// <summary>The file of a value.</summary>
    public static byte[] Write(object? value)
    {
        var (pickle, storages) = PickleWriter.Write(value);
        return Zip(pickle, storages).ToArray();
    }

    /// <summary>An archive around a pickle.</summary>
    public static ZipWriter Zip(byte[] pickle, IReadOnlyDictionary<string, byte[]> storages, bool largeEntries = false)
    {
        var zip = new ZipWriter { LargeEntries = largeEntries }.Add($"{Archive}/data.pkl", pickle).Add($"{Archive}/byteorder", "little"u8.ToArray());
        foreach (var (key, bytes) in storages)
        {
            zip.Add($"{Archive}/data/{key}", bytes);
        }

        return zip.Add($"{Archive}/version", "3\n"u8.ToArray());
    }

    /// <summary>A training checkpoint like the published ones of Stable Diffusion 1.x, with some tensors.</summary>
    public static Dictionary<string, object?> Checkpoint()
    {
        var random = new Random(7);
        byte[] Bytes(int count)
        {
            var bytes = new byte[count];
            random.NextBytes(bytes);
            return bytes;
        }

        var weight = Bytes(2 * 24);
        var tensors = new Dictionary<string, object?>
        {
            ["betas"] = SampleTensor.Floats("0", [1, 2, 3, 4], 4),
            ["model.diffusion_model.input_blocks.0.0.weight"] = SampleTensor.Plain("1", TensorType.F16, weight, 2, 3, 2, 2),
            ["model.diffusion_model.input_blocks.0.0.bias"] = SampleTensor.Plain("2", TensorType.BF16, Bytes(6), 3),
            ["cond_stage_model.position_ids"] = SampleTensor.Plain("3", TensorType.I64, Bytes(8 * 7), 1, 7),
            ["first_stage_model.turned"] = new SampleTensor("1", TensorType.F16, weight, 4, [3, 2], [2, 6]),
        };
        return new Dictionary<string, object?>
        {
            ["epoch"] = 13,
            ["global_step"] = 470000,
            ["pytorch-lightning_version"] = "1.4.2",
            ["state_dict"] = tensors,
            ["callbacks"] = new SampleDictionary((ModelCheckpoint, new Dictionary<string, object?>
            {
                ["monitor"] = "val/loss_simple_ema",
                ["best_model_score"] = NumpyScalar(),
                ["best_model_path"] = "epoch=13.ckpt",
            })),
            ["optimizer_states"] = new List<object?>
            {
                new Dictionary<string, object?>
                {
                    ["state"] = new SampleDictionary((0, new Dictionary<string, object?> { ["exp_avg"] = SampleTensor.Floats("4", [5, 6], 2) })),
                    ["param_groups"] = new List<object?>
                    {
                        new Dictionary<string, object?> { ["lr"] = 1e-4, ["betas"] = new object?[] { 0.9, 0.999 }, ["params"] = new List<object?> { 0 } },
                    },
                },
            },
            ["lr_schedulers"] = new List<object?>(),
        };
    }

    /// <summary>A textual inversion as AUTOMATIC1111's web UI saves it.</summary>
    public static Dictionary<string, object?> Embedding()
    {
        var vectors = SampleTensor.Floats("0", [.. Enumerable.Range(0, 16).Select(i => i / 8f)], 2, 8);
        var parameter = new SampleCall(new SampleGlobal("torch._utils", "_rebuild_parameter"), [vectors, true, OrderedDictionary()]);
        return new Dictionary<string, object?>
        {
            ["string_to_token"] = new Dictionary<string, object?> { ["*"] = SampleTensor.Plain("1", TensorType.I64, BitConverter.GetBytes(265L)) },
            ["string_to_param"] = new SampleCall(
                new SampleGlobal("torch.nn.modules.container", "ParameterDict"), [],
                new Dictionary<string, object?>
                {
                    ["training"] = true,
                    ["_parameters"] = new Dictionary<string, object?> { ["*"] = parameter },
                    ["_buffers"] = OrderedDictionary(),
                    ["_non_persistent_buffers_set"] = new SampleCall(new SampleGlobal("__builtin__", "set"), [new List<object?>()]),
                },
                IsNew: true),
            ["name"] = "cat",
            ["step"] = 500,
            ["sd_checkpoint"] = null,
            ["sd_checkpoint_name"] = null,
        };
    }

    /// <summary>
    /// What PyTorch 2 writes otherwise: fp8, tensors and parameters with attributes; and settings beside them. Its storages are as long
    /// as those of <see cref="Checkpoint"/>.
    /// </summary>
    public static Dictionary<string, object?> OfPyTorch2()
    {
        var attributes = new Dictionary<string, object?> { ["tag"] = "x" };
        var bytes = Enumerable.Range(0, 48).Select(i => (byte)i).ToArray();
        object?[] view = [new SampleStorage("1", "HalfStorage", bytes, 24), 0, new object?[] { 4, 6 }, new object?[] { 6, 1 }, false, OrderedDictionary()];
        return new Dictionary<string, object?>
        {
            ["fp8"] = SampleTensor.Plain("0", TensorType.F8_E4M3, bytes[..16], 4, 4),
            ["tensor"] = new SampleCall(
                new SampleGlobal("torch._tensor", "_rebuild_from_type_v2"),
                [new SampleGlobal("torch._utils", "_rebuild_tensor_v2"), new SampleGlobal("torch", "Tensor"), view, attributes]),
            ["parameter"] = new SampleCall(
                new SampleGlobal("torch._utils", "_rebuild_parameter_with_state"),
                [SampleTensor.Plain("2", TensorType.BF16, bytes[..6], 3), true, OrderedDictionary(), attributes]),
            ["settings"] = new SampleCall(new SampleGlobal("argparse", "Namespace"), [], attributes, IsNew: true),
        };
    }

    public static SampleCall OrderedDictionary() => new(new SampleGlobal("collections", "OrderedDict"), []);

    private static SampleCall NumpyScalar()
    {
        var type = new SampleCall(
            new SampleGlobal("numpy", "dtype"), ["f8", 0, 1], new object?[] { 3, "<", null, null, null, -1, -1, 0 });
        var bytes = new SampleCall(new SampleGlobal("_codecs", "encode"), [Encoding.Latin1.GetString(BitConverter.GetBytes(1.5)), "latin1"]);
        return new SampleCall(new SampleGlobal("numpy.core.multiarray", "scalar"), [type, bytes]);
    }
}
