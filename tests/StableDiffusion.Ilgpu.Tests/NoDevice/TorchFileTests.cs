using System.IO.Compression;
using StableDiffusion.Ilgpu.Tests.Samples;
using StableDiffusion.Ilgpu.Weights;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>PyTorch's files: what is in them is read as PyTorch would read it.</summary>
public sealed class TorchFileTests : IDisposable
{
    private readonly WeightsTestFiles files = new();

    public void Dispose() => files.Dispose();

    private TorchFile Open(byte[] bytes) => TorchFile.Open(files.Write($"{Guid.NewGuid():n}.ckpt", bytes));

    private TorchFile Open(object? value) => Open(TorchFileWriter.Write(value));

    private static float[] Floats(TorchFile file, string name)
    {
        var values = new float[file.Tensors[name].Count];
        file.Read(name, values);
        var halves = new ushort[values.Length];
        file.Read(name, halves);
        Assert.Equal(values.Select(v => (Half)v), halves.Select(BitConverter.UInt16BitsToHalf));
        return values;
    }

    [Fact]
    public void A_checkpoint_of_training_gives_the_tensors_of_its_state()
    {
        using var file = Open(TorchFileWriter.Checkpoint());
        Assert.Equal(
            ["betas", "model.diffusion_model.input_blocks.0.0.weight", "model.diffusion_model.input_blocks.0.0.bias",
                "cond_stage_model.position_ids", "first_stage_model.turned"],
            file.Tensors.Keys);
        Assert.Equal([1f, 2, 3, 4], Floats(file, "betas"));
        Assert.Equal((TensorType.I64, "[1, 7]"), (file.Tensors["cond_stage_model.position_ids"].Type, file.Tensors["cond_stage_model.position_ids"].ShapeText));
        Assert.Equal(470000L, file.Root["global_step"]);
        Assert.Equal("1.4.2", file.Root["pytorch-lightning_version"]);

        // Element (i, j) of the turned tensor is element 4 + 2 i + 6 j of the storage that it shares.
        var all = Floats(file, "model.diffusion_model.input_blocks.0.0.weight");
        Assert.Equal([all[4], all[10], all[6], all[12], all[8], all[14]], Floats(file, "first_stage_model.turned"));
    }

    [Fact]
    public void An_embedding_gives_its_parameters_by_joined_names()
    {
        using var file = Open(TorchFileWriter.Embedding());
        Assert.Equal(["string_to_token.*", "string_to_param.*"], file.Tensors.Keys);
        Assert.Equal([2L, 8], file.Tensors["string_to_param.*"].Shape);
        Assert.Equal(Enumerable.Range(0, 16).Select(i => i / 8f), Floats(file, "string_to_param.*"));
        Assert.Equal("cat", file.Root["name"]);
        Assert.Null(file.Root["sd_checkpoint"]);
        WeightsTestFiles.Refused(() => file.Read("string_to_token.*", new float[1]), "string_to_token.*", "element type I64");
        WeightsTestFiles.Refused(() => file.Read("string_to_parm.*", new float[1]), "is missing; nearest: string_to_param.*");
    }

    [Theory]
    [InlineData(TensorType.F64, 8)]
    [InlineData(TensorType.F32, 4)]
    [InlineData(TensorType.F16, 2)]
    [InlineData(TensorType.BF16, 2)]
    [InlineData(TensorType.F8_E4M3, 1)]
    [InlineData(TensorType.F8_E5M2, 1)]
    internal void Every_float_type_is_read(TensorType type, int size)
    {
        float[] values = [0, 1, -2.5f, 0.125f, 96, -0.0078125f];
        byte[] bytes = [.. values.SelectMany(v => type switch
        {
            TensorType.F64 => BitConverter.GetBytes((double)v),
            TensorType.F32 => BitConverter.GetBytes(v),
            TensorType.F16 => BitConverter.GetBytes((Half)v),
            TensorType.F8_E4M3 => [v switch { 0 => 0, 1 => 0x38, -2.5f => 0xc2, 0.125f => 0x20, 96 => 0x6c, _ => 0x84 }],
            TensorType.F8_E5M2 => BitConverter.GetBytes((Half)v)[1..],
            _ => BitConverter.GetBytes(v)[2..],
        })];
        Assert.Equal(values.Length * size, bytes.Length);
        using var file = Open(new Dictionary<string, object?>
        {
            ["plain"] = SampleTensor.Plain("0", type, bytes, 2, 3),
            ["turned"] = new SampleTensor("0", type, bytes, 0, [3, 2], [1, 3]),
            ["every other"] = new SampleTensor("0", type, bytes, 1, [3], [2]),
        });
        Assert.Equal(values, Floats(file, "plain"));
        Assert.Equal([values[0], values[3], values[1], values[4], values[2], values[5]], Floats(file, "turned"));
        Assert.Equal([values[1], values[3], values[5]], Floats(file, "every other"));
        Assert.Equal(type, file.Tensors["turned"].Type);
    }

    /// <summary>PyTorch 2 writes tensors and parameters that have attributes of their own by way of other functions.</summary>
    [Fact]
    public void Tensors_with_attributes_are_read()
    {
        using var file = Open(TorchFileWriter.OfPyTorch2());
        Assert.Equal(["fp8", "tensor", "parameter"], file.Tensors.Keys);
        Assert.Equal(Enumerable.Range(0, 24).Select(i => (float)BitConverter.UInt16BitsToHalf((ushort)((((2 * i) + 1) << 8) | (2 * i)))), Floats(file, "tensor"));
        Assert.Equal(3, Floats(file, "parameter").Length);
        Assert.Equal([0, 1 / 512f, 2 / 512f], Floats(file, "fp8")[..3]);
    }

    /// <summary>Their values count with the other sign.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Negative_views_are_refused(bool isNegative)
    {
        var storage = new SampleStorage("0", "FloatStorage", BitConverter.GetBytes(1f), 1);
        var view = new SampleCall(
            new SampleGlobal("torch._utils", "_rebuild_tensor_v2"),
            [storage, 0, new object?[] { 1 }, new object?[] { 1 }, false, TorchFileWriter.OrderedDictionary(),
                new Dictionary<string, object?> { ["neg"] = isNegative }]);
        var value = new Dictionary<string, object?> { ["a"] = view };
        if (isNegative)
        {
            WeightsTestFiles.Refused(() => Open(value), "negative view");
            return;
        }

        using var file = Open(value);
        Assert.Equal([1f], Floats(file, "a"));
    }

    /// <summary>What training saves beside a model's state: settings, paths, the states of random generators.</summary>
    [Fact]
    public void What_training_libraries_leave_is_passed_over()
    {
        static SampleCall Made(string module, string name, object? state = null, bool isNew = true, params object?[] arguments) =>
            new(new SampleGlobal(module, name), arguments, state, isNew);
        using var file = Open(new Dictionary<string, object?>
        {
            ["state_dict"] = new Dictionary<string, object?> { ["a"] = SampleTensor.Floats("0", [1, 2], 2) },
            ["hyper_parameters"] = Made("argparse", "Namespace", new Dictionary<string, object?> { ["lr"] = 1e-4 }),
            ["config"] = Made("omegaconf.dictconfig", "DictConfig", new Dictionary<string, object?> { ["_content"] = new Dictionary<string, object?>() }),
            ["callback"] = Made("pytorch_lightning.callbacks.early_stopping", "EarlyStopping"),
            ["path"] = Made("pathlib", "PosixPath", null, false, "/", "x"),
            ["array"] = Made("numpy.core.multiarray", "_reconstruct", new object?[] { 1 }, false, new SampleGlobal("numpy", "ndarray"), new object?[] { 0 }),
        });
        Assert.Equal(["a"], file.Tensors.Keys);
        Assert.Equal([1f, 2], Floats(file, "a"));
    }

    [Fact]
    public void Scalars_and_tensors_without_elements_are_read()
    {
        using var file = Open(new Dictionary<string, object?>
        {
            ["scalar"] = SampleTensor.Floats("0", [2.5f]),
            ["none"] = SampleTensor.Floats("1", [], 0, 3),
            ["none, turned"] = new SampleTensor("1", TensorType.F32, [], 0, [3, 0], [1, 3]),
            ["one row"] = new SampleTensor("0", TensorType.F32, new byte[4], 0, [1, 1], [77, 5]),
        });
        Assert.Empty(file.Tensors["scalar"].Shape);
        Assert.Empty(Floats(file, "none"));
        Assert.Empty(Floats(file, "none, turned"));
        Assert.Single(Floats(file, "one row"));
    }

    [Fact]
    public void A_big_turned_tensor_is_read_through_blocks()
    {
        const int rows = 123, columns = 457;
        float[] values = [.. Enumerable.Range(0, rows * columns).Select(i => (float)(i % 2000))];
        var storage = SampleTensor.Floats("0", values, rows, columns);
        using var file = Open(new Dictionary<string, object?> { ["t"] = storage with { Shape = [columns, rows], Strides = [1, columns] } });
        var read = Floats(file, "t");
        for (var i = 0; i < read.Length; i++)
        {
            Assert.Equal(values[(i % rows * columns) + (i / rows)], read[i]);
        }
    }

    [Fact]
    public void Module_state_sizes_and_lists_are_understood()
    {
        var state = new SampleCall(
            new SampleGlobal("collections", "OrderedDict"), [], new Dictionary<string, object?> { ["_metadata"] = TorchFileWriter.OrderedDictionary() });
        using var file = Open(new Dictionary<string, object?>
        {
            ["meta"] = state,
            ["size"] = new SampleCall(new SampleGlobal("torch", "Size"), [new object?[] { 1, 2 }]),
            ["list"] = new List<object?> { SampleTensor.Floats("0", [1], 1), new object?[] { SampleTensor.Floats("1", [2], 1) } },
            ["numbers"] = new object?[] { 0, 255, 256, 65535, 65536, -1, int.MinValue, long.MaxValue, long.MinValue, 1.5, true, false },
        });
        Assert.Equal(["list.0", "list.1.0"], file.Tensors.Keys);
        Assert.Equal([1L, 2L], Assert.IsType<IReadOnlyList<object?>>(file.Root["size"], exactMatch: false));
        Assert.Equal(
            [0L, 255L, 256L, 65535L, 65536L, -1L, (long)int.MinValue, long.MaxValue, long.MinValue, 1.5, true, false],
            Assert.IsType<IReadOnlyList<object?>>(file.Root["numbers"], exactMatch: false));
    }

    [Fact]
    public void Zip64_entries_and_archives_of_other_writers_are_read()
    {
        var (pickle, storages) = PickleWriter.Write(new Dictionary<string, object?> { ["a"] = SampleTensor.Floats("0", [1, 2], 2) });
        using (var large = Open(TorchFileWriter.Zip(pickle, storages, largeEntries: true).ToArray(comment: "PK comment")))
        {
            Assert.Equal([1f, 2], Floats(large, "a"));
        }

        using var stream = new MemoryStream();
        using (var archive = new ZipArchive(stream, ZipArchiveMode.Create, leaveOpen: true))
        {
            foreach (var (name, bytes) in storages.Select(s => ($"x/data/{s.Key}", s.Value)).Prepend(("x/data.pkl", pickle)))
            {
                using var entry = archive.CreateEntry(name, CompressionLevel.NoCompression).Open();
                entry.Write(bytes);
            }
        }

        using var other = Open(stream.ToArray());
        Assert.Equal([1f, 2], Floats(other, "a"));
    }

    [Fact]
    public void A_file_beyond_4_gigabytes_is_read()
    {
        // 5 GB of holes: sparse files take no room.
        const long length = 5L << 30;
        var value = new Dictionary<string, object?> { ["a"] = SampleTensor.Floats("0", [1, 2, 3], 3), ["b"] = SampleTensor.Floats("1", [4, 5], 2) };
        var (pickle, storages) = PickleWriter.Write(value);
        var front = TorchFileWriter.Zip(pickle, new Dictionary<string, byte[]> { ["0"] = storages["0"] }).ToArray();
        var path = files.PathOf("large.ckpt");
        var zip = new ZipWriter { LargeEntries = true };
        zip.Add("archive/data/1", storages["1"]);
        var back = zip.ToArray();

        // The archive's two entries at its start, the third behind the holes; the directory is put together from both.
        var (frontStart, frontLength) = Directory(front);
        var (backStart, backLength) = Directory(back);
        var entry = back.AsSpan(backStart, backLength).ToArray();
        BitConverter.TryWriteBytes(entry.AsSpan(entry.Length - 8), length);
        using (var stream = File.Create(path))
        {
            stream.Write(front.AsSpan(0, frontStart));
            stream.Position = length;
            stream.Write(back.AsSpan(0, backStart));
            var start = stream.Position;
            stream.Write(front.AsSpan(frontStart, frontLength));
            stream.Write(entry);
            var end = stream.Position;
            stream.Write([.. BitConverter.GetBytes(0x06064b50), .. BitConverter.GetBytes(44L), .. new byte[20], .. BitConverter.GetBytes(5L),
                .. BitConverter.GetBytes(end - start), .. BitConverter.GetBytes(start)]);
            stream.Write([.. BitConverter.GetBytes(0x07064b50), .. new byte[4], .. BitConverter.GetBytes(end), 1, 0, 0, 0]);
            stream.Write([.. BitConverter.GetBytes(0x06054b50), .. new byte[4], .. Enumerable.Repeat((byte)255, 12), 0, 0]);
        }

        using var file = TorchFile.Open(path);
        Assert.Equal([1f, 2, 3], Floats(file, "a"));
        Assert.Equal([4f, 5], Floats(file, "b"));

        static (int Start, int Length) Directory(byte[] bytes) =>
            ((int)BitConverter.ToUInt32(bytes, bytes.Length - 6), (int)BitConverter.ToUInt32(bytes, bytes.Length - 10));
    }

    [Fact]
    public void Reading_is_thread_safe()
    {
        float[] values = [.. Enumerable.Range(0, 5000).Select(i => i / 4f)];
        using var file = Open(new Dictionary<string, object?>
        {
            ["a"] = SampleTensor.Floats("0", values, 50, 100),
            ["t"] = SampleTensor.Floats("0", values, 50, 100) with { Shape = [100, 50], Strides = [1, 100] },
        });
        var (a, t) = (Floats(file, "a"), Floats(file, "t"));
        Parallel.For(0, 200, i => Assert.Equal(i % 2 == 0 ? a : t, Floats(file, i % 2 == 0 ? "a" : "t")));
    }
}
