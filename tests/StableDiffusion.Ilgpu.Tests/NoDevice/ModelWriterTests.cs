using System.Diagnostics;
using System.Text.Json.Nodes;
using StableDiffusion.Ilgpu.Weights;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Models written in either layout and read back.</summary>
public sealed class ModelWriterTests : IDisposable
{
    private readonly WeightsTestFiles files = new();

    public static IEnumerable<TheoryDataRow<string>> Models =>
        Directory.GetDirectories(ReferenceData.Folder, "tiny-*").Select(f => new TheoryDataRow<string>(Path.GetFileName(f)));

    public void Dispose() => files.Dispose();

    /// <summary>The files that are written are the same ones byte for byte, and hold every tensor that the set's do; their headers may differ.</summary>
    [Theory]
    [Trait("Kind", "Reference")]
    [MemberData(nameof(Models))]
    public void Folder_to_file_to_folder_gives_the_same_bytes(string model)
    {
        var start = ReferenceData.PathOf(model);
        var configs = new ModelOptions { ConfigFolder = start };
        var (file, folder) = (files.PathOf("a.safetensors"), files.PathOf("b"));
        var (again, first) = (files.PathOf("c.safetensors"), files.PathOf("first"));
        Convert(new ModelOptions { Model = start }, file);
        Convert(configs with { Model = file }, folder);
        Convert(new ModelOptions { Model = folder }, again);
        Convert(new ModelOptions { Model = start }, first);
        Assert.True(File.ReadAllBytes(file).AsSpan().SequenceEqual(File.ReadAllBytes(again)), "the single files differ");
        foreach (var part in Enum.GetValues<ModelPart>())
        {
            var name = Path.Combine(DiffusersFolder.FolderOf(part), $"{DiffusersFolder.WeightsOf(part)}.safetensors");
            var written = File.ReadAllBytes(Path.Combine(first, name));
            Assert.True(written.AsSpan().SequenceEqual(File.ReadAllBytes(Path.Combine(folder, name))), $"{name} differs by way of a file");
            var (expected, actual) = (TestTensors.Open(start, name), TestTensors.Open(first, name));
            Assert.Equal(expected.Names.Order(), actual.Names.Order());
            var different = expected.Names.Where(n => expected.Type(n) != actual.Type(n) || !expected.Shape(n).SequenceEqual(actual.Shape(n))
                || !expected.Stored(n).SequenceEqual(actual.Stored(n))).ToList();
            Assert.True(different.Count == 0, $"{name}: {string.Join(", ", different)}");
            Assert.Equal(
                File.ReadAllText(Path.Combine(first, DiffusersFolder.FolderOf(part), "config.json")),
                File.ReadAllText(Path.Combine(folder, DiffusersFolder.FolderOf(part), "config.json")));
            ReferenceData.Report($"{model} {name}: {expected.Names.Count} tensors, tensors that differ", different.Count, 0);
        }

        Assert.Empty(Directory.GetFileSystemEntries(files.Folder, "*.tmp", SearchOption.AllDirectories));
    }

    /// <summary>A 1.x model with v-prediction and zero terminal SNR, in a folder; the file lies beside another scheduler's configuration.</summary>
    [Fact]
    [Trait("Kind", "Reference")]
    public void The_schedule_goes_through_a_file()
    {
        var (start, file) = (files.PathOf("start"), files.PathOf("file", "a.safetensors"));
        TemporaryFolder.Copy(ReferenceData.PathOf("tiny-sd15"), start);
        var scheduler = Path.Combine(start, "scheduler", "scheduler_config.json");
        var json = JsonNode.Parse(File.ReadAllText(scheduler))!.AsObject();
        (json["prediction_type"], json["rescale_betas_zero_snr"], json["timestep_spacing"]) = ("v_prediction", true, "trailing");
        File.WriteAllText(scheduler, json.ToJsonString());
        TemporaryFolder.CopyConfigs(ReferenceData.PathOf("tiny-sd15"), files.PathOf("file"));
        (json["prediction_type"], json["rescale_betas_zero_snr"]) = ("epsilon", false);
        File.WriteAllText(files.PathOf("file", "scheduler", "scheduler_config.json"), json.ToJsonString());
        Convert(new ModelOptions { Model = start }, file);
        Convert(new ModelOptions { Model = file }, files.PathOf("again"));

        using var expected = LoadedModel.Open(start);
        Assert.Equal((PredictionType.V, 0), (expected.Schedule.Prediction, expected.Schedule.Alpha(expected.Schedule.TrainSteps - 1)));
        foreach (var path in new[] { file, files.PathOf("again") })
        {
            using var model = LoadedModel.Open(path);
            ScheduleCheck.AssertSame(expected.Schedule, model.Schedule);
        }

        using var named = LoadedModel.Open(new ModelOptions { Model = file, ConfigFolder = ReferenceData.PathOf("tiny-sd15") });
        using var plain = LoadedModel.Open(ReferenceData.PathOf("tiny-sd15"));
        ScheduleCheck.AssertSame(plain.Schedule, named.Schedule);
        using var written = SafetensorsFile.Open(file);
        Assert.Equal("v", written.FindMetadata("modelspec.prediction_type"));
    }

    /// <summary>fp8 is read and never written: fp16 holds all its numbers.</summary>
    [Theory]
    [Trait("Kind", "Reference")]
    [InlineData("F8_E4M3")]
    [InlineData("F8_E5M2")]
    public void Fp8_becomes_fp16(string name)
    {
        const string Stored = "model.diffusion_model.out.2.weight";
        var model = SingleFileSample.Models.First();
        var sample = new SingleFileSample(model);
        var info = sample.Tensors[Stored];
        sample.Add(info with { Type = Enum.Parse<TensorType>(name) }, [.. Enumerable.Range(0, (int)info.Count).Select(i => (byte)(i % 120))]);
        var options = new ModelOptions { Model = sample.Write(files.PathOf("a.safetensors")), ConfigFolder = ReferenceData.PathOf(model) };
        Convert(options, files.PathOf("folder"));
        using var source = LoadedModel.Open(options);
        using var written = LoadedModel.Open(files.PathOf("folder"));
        using var before = source.OpenWeights(ModelPart.UNet);
        using var after = written.OpenWeights(ModelPart.UNet);
        Assert.Contains(name, source.Describe().Components.Single(c => c.Name == "unet").StoredAs, StringComparison.Ordinal);
        Assert.Equal(TensorType.F16, after.Tensors["conv_out.weight"].Type);
        var (x, y) = (new float[info.Count], new float[info.Count]);
        before.Read("conv_out.weight", x);
        after.Read("conv_out.weight", y);
        Assert.Contains(x, v => v > 1);
        Assert.Equal(x, y);
    }

    /// <summary>What is read of fp64 is fp32.</summary>
    [Fact]
    [Trait("Kind", "Reference")]
    public void Fp64_becomes_fp32()
    {
        var model = SingleFileSample.Models.First();
        var sample = new SingleFileSample(model);
        var info = sample.Tensors["model.diffusion_model.out.2.weight"];
        double[] values = [.. Enumerable.Range(1, (int)info.Count).Select(i => 1.0 / i)];
        sample.Add(info with { Type = TensorType.F64 }, [.. values.SelectMany(BitConverter.GetBytes)]);
        Convert(new ModelOptions { Model = sample.Write(files.PathOf("a.safetensors")), ConfigFolder = ReferenceData.PathOf(model) }, files.PathOf("folder"));
        using var written = LoadedModel.Open(files.PathOf("folder"));
        using var weights = written.OpenWeights(ModelPart.UNet);
        Assert.Equal(TensorType.F32, weights.Tensors["conv_out.weight"].Type);
        var read = new float[info.Count];
        weights.Read("conv_out.weight", read);
        Assert.Equal(values.Select(v => (float)v), read);
    }

    [Theory]
    [InlineData("F16")]
    [InlineData("F32")]
    [InlineData("BF16")]
    public void Types_are_converted_once(string name)
    {
        var type = Enum.Parse<TensorType>(name);
        foreach (var model in Models.Select(m => m.Data))
        {
            var (file, folder) = (files.PathOf($"{model}.safetensors"), files.PathOf(model));
            using var source = LoadedModel.Open(ReferenceData.PathOf(model));
            source.Save(file, type, CancellationToken.None);
            Convert(new ModelOptions { Model = file, ConfigFolder = ReferenceData.PathOf(model) }, folder);
            using var written = LoadedModel.Open(folder);
            foreach (var part in Enum.GetValues<ModelPart>())
            {
                using var before = source.OpenWeights(part);
                using var after = written.OpenWeights(part);
                foreach (var tensor in before.Tensors.Values.Where(t => t.Name != WeightCheck.PositionIds))
                {
                    Assert.Equal(type, after.Tensors[tensor.Name].Type);
                    var (x, y) = (new float[tensor.Count], new float[tensor.Count]);
                    before.Read(tensor.Name, x);
                    after.Read(tensor.Name, y);
                    Assert.All(x.Zip(y), pair => Assert.Equal(Rounded(pair.First, type), pair.Second));
                }
            }
        }
    }

    /// <summary>Rounding to bf16 against the definition: the nearer neighbour, the even one of two.</summary>
    [Theory]
    [InlineData(1f, 0x3f80)]
    [InlineData(1.00390625f, 0x3f80)]
    [InlineData(1.01171875f, 0x3f82)]
    [InlineData(1.0039065f, 0x3f81)]
    [InlineData(-2.5f, 0xc020)]
    [InlineData(3.4e38f, 0x7f80)]
    [InlineData(float.PositiveInfinity, 0x7f80)]
    [InlineData(float.NaN, 0xffc0)]
    [InlineData(1e-45f, 0x0000)]
    public void Bf16_rounds_to_nearest_even(float value, int bits)
    {
        var result = new ushort[1];
        FloatConversion.ToBrain([value], result);
        Assert.Equal(bits, result[0]);
    }

    [Fact]
    public void An_output_that_is_in_the_way_is_kept()
    {
        using var model = LoadedModel.Open((string?)null);
        var file = files.Write("file", "kept");
        var folder = Directory.CreateDirectory(files.PathOf("folder.safetensors")).FullName;
        files.Write("full/x", "kept");
        WeightsTestFiles.Refused(() => model.Save(file, null, CancellationToken.None), file, "it is a file", ".safetensors");
        WeightsTestFiles.Refused(() => model.Save(folder, null, CancellationToken.None), folder, "it is a folder");
        WeightsTestFiles.Refused(() => model.Save(files.PathOf("full"), null, CancellationToken.None), "full", "not empty");
        WeightsTestFiles.Refused(() => model.Save(files.PathOf("no", "folder"), null, CancellationToken.None), "there is no folder");
        WeightsTestFiles.Refused(() => model.Save("", null, CancellationToken.None), "cannot write ''");
    }

    /// <summary>The name that a model has while it is written does not come from its own.</summary>
    [Fact]
    public void Names_may_be_as_long_as_names_can_be()
    {
        var (file, folder) = (new string('x', 243) + ".safetensors", new string('x', 255));
        Convert(new ModelOptions(), files.PathOf(file));
        Convert(new ModelOptions(), files.PathOf(folder));
        Assert.Equal([folder, file], Directory.GetFileSystemEntries(files.Folder).Select(p => Path.GetFileName(p)).OrderByDescending(n => n, StringComparer.Ordinal));
        foreach (var output in new[] { files.PathOf("x" + file), files.PathOf("x" + folder) })
        {
            var error = Assert.Throws<StableDiffusionException>(() => ModelWriter.CheckOutput(output));
            Assert.Equal($"{output}: cannot be written: the name is too long", error.Message);
        }
    }

    /// <summary>Which names are none is the system's to say, but not when gigabytes are written.</summary>
    [Fact]
    public void What_no_file_can_be_called_is_told_before_anything_is_read()
    {
        const string Device = "a device's name cannot be given to a file";
        (string Output, string Reason)[] refused = OperatingSystem.IsWindows()
            ? [("nul", Device), (files.PathOf("con"), Device), (files.PathOf("a<b"), "no file's name can have a '<' here"), (files.PathOf("model:b.safetensors"), "no file's name can have a ':' here")]
            : [("/dev/model", Device), ("/dev/model.safetensors", Device)];
        foreach (var (output, reason) in refused)
        {
            WeightsTestFiles.Refused(() => ModelWriter.CheckOutput(output), $"cannot be written: {reason}");
        }
    }

    [Theory]
    [InlineData("out")]
    [InlineData("out.safetensors")]
    public void A_link_stays_and_what_it_points_to_is_written(string name)
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "links need rights there");
        var link = files.PathOf(name);
        File.CreateSymbolicLink(link, $"real-{name}");
        Convert(new ModelOptions(), link);
        Assert.Equal($"real-{name}", new FileInfo(link).LinkTarget);
        Assert.Equal([name, $"real-{name}"], Directory.GetFileSystemEntries(files.Folder).Select(p => Path.GetFileName(p)).Order(StringComparer.Ordinal));
        using var written = LoadedModel.Open(new ModelOptions { Model = files.PathOf($"real-{name}"), ConfigFolder = Path.Combine(AppContext.BaseDirectory, "weights", "demo") });
    }

    [Fact]
    public void A_pipe_stays_a_pipe()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "makes a pipe with the Linux command mkfifo");
        var pipe = files.PathOf("pipe.safetensors");
        using (var make = Process.Start("mkfifo", [pipe]))
        {
            make.WaitForExit();
        }

        var error = Assert.Throws<StableDiffusionException>(() => ModelWriter.CheckOutput(pipe));
        Assert.Equal($"{pipe}: cannot be written: it is a pipe or a device, not a file", error.Message);
    }

    [Theory]
    [InlineData("out")]
    [InlineData("out.safetensors")]
    public void A_cancelled_conversion_leaves_nothing(string name)
    {
        using var model = LoadedModel.Open((string?)null);
        Assert.Throws<OperationCanceledException>(() => model.Save(files.PathOf(name), null, new CancellationToken(canceled: true)));
        Assert.Empty(Directory.GetFileSystemEntries(files.Folder));
    }

    private static void Convert(ModelOptions options, string output)
    {
        using var model = LoadedModel.Open(options);
        model.Save(output, null, CancellationToken.None);
    }

    private static float Rounded(float value, TensorType type)
    {
        if (type == TensorType.F32)
        {
            return value;
        }

        if (type == TensorType.F16)
        {
            return (float)(Half)value;
        }

        var bits = BitConverter.SingleToUInt32Bits(value);
        var low = BitConverter.UInt32BitsToSingle(bits & 0xffff0000);
        var high = BitConverter.UInt32BitsToSingle((bits & 0xffff0000) + 0x10000);
        var (down, up) = (Math.Abs((double)value - low), Math.Abs((double)high - value));
        return down < up || (down == up && (bits & 0x10000) == 0) ? low : high;
    }
}
