using StableDiffusion.Ilgpu.Weights;
using StableDiffusion.Ilgpu.Weights.Lora;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>What LoRA files of every kind add to a weight, against the definitions in fp64, and what is refused.</summary>
public sealed class LoraMergeTests : IDisposable
{
    /// <summary>Relative L2: sums of a few products and the merged value are rounded to fp32.</summary>
    private const double Limit = 1e-6;

    private readonly TemporaryFolder folder = new();

    public static TheoryData<string> Kinds => [.. LoraCase.All.Select(c => c.Name)];

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Merged_weight_is_base_plus_change(string name)
    {
        var lora = LoraCase.All.Single(c => c.Name == name);
        var stored = Base(lora.Shape);
        foreach (var scale in new[] { 1, 0.7, -2.5 })
        {
            var merged = Merge(lora.Shape, stored, new LoraReference(lora.Write(folder["a.safetensors"]), new(scale)));
            double[] expected = [.. stored.Zip(lora.Delta(scale), (a, b) => a + b)];
            ReferenceData.Report($"{name} at {scale}, relative L2", Error(merged.Float, expected), Limit);
            Assert.Equal(merged.Float.Select(v => BitConverter.HalfToUInt16Bits((Half)v)), merged.Half);
        }
    }

    [Fact]
    public void PyTorch_files_add_the_same()
    {
        foreach (var lora in LoraCase.All)
        {
            var stored = Base(lora.Shape);
            Assert.Equal(
                Merge(lora.Shape, stored, new LoraReference(lora.Write(folder["a.safetensors"]), new(0.5))).Float,
                Merge(lora.Shape, stored, new LoraReference(lora.WriteTorch(folder["a.pt"]), new(0.5))).Float);
        }
    }

    [Fact]
    public void Several_files_add_up()
    {
        var all = LoraCase.All.Where(c => c.Shape is [6, 6, 3, 3]).ToArray();
        Assert.True(all.Length > 1);
        var stored = Base(all[0].Shape);
        var references = all.Select((c, i) => new LoraReference(c.Write(folder[$"{i}.safetensors"]), new(i + 0.5))).ToArray();
        var expected = stored.Select(v => (double)v).ToArray();
        foreach (var (lora, reference) in all.Zip(references))
        {
            expected = [.. expected.Zip(lora.Delta(reference.Scale.UNet), (a, b) => a + b)];
        }

        ReferenceData.Report($"{all.Length} files, relative L2", Error(Merge(all[0].Shape, stored, references).Float, expected), Limit);
    }

    [Fact]
    public void A_scale_of_zero_leaves_every_bit()
    {
        foreach (var lora in LoraCase.All)
        {
            // A sum with zero would lose the sign of a negative zero.
            var stored = Base(lora.Shape);
            stored[0] = -0f;
            var merged = Merge(lora.Shape, stored, new LoraReference(lora.Write(folder["a.safetensors"]), new(0)));
            Assert.Equal(stored.Select(BitConverter.SingleToUInt32Bits), merged.Float.Select(BitConverter.SingleToUInt32Bits));
        }
    }

    [Fact]
    public void Other_tensors_pass_through()
    {
        var lora = LoraCase.All[0];
        using var set = LoraSet.Open([new LoraReference(lora.Write(folder["a.safetensors"]), new(1))], Declared(lora.Shape));
        var path = new TensorFiles().Add(LoraCase.Weight, lora.Shape, Base(lora.Shape))
            .Add("other", [3], [1, 2, 3]).Write(folder["base.safetensors"]);
        using var changed = set.Apply(ModelPart.UNet, SafetensorsFile.Open(path));
        using var unchanged = set.Apply(ModelPart.TextEncoder, SafetensorsFile.Open(path));
        Assert.IsType<LoraWeights>(changed);
        Assert.IsType<SafetensorsFile>(unchanged);
        Assert.Equal(2, changed.Tensors.Count);
        Span<float> values = [0, 0, 0];
        changed.Read("other", values);
        Assert.Equal([1, 2, 3], values.ToArray());
    }

    /// <summary>Changes to a good file, and what the message must name.</summary>
    public static TheoryData<string, string, string[]> Damage => new()
    {
        { "LoRA 5x7 of rank 3", "lora_down.weight 2 7", ["lora_down.weight [2, 7]", "ranks: 3 and 2"] },
        { "LoRA 5x7 of rank 3", "lora_down.weight 3 8", ["5 x 8", "5 x 7", LoraCase.Weight, "another model"] },
        { "LoRA 5x7 of rank 3", "lora_up.weight 6 3", ["6 x 7", "5 x 7"] },
        { "LoRA 5x7 of rank 3", "lora_up.weight 15", ["lora_up.weight", "[15]", "not a matrix"] },
        { "LoRA 5x7 of rank 3", "lora_up.weight 5 0", ["lora_up.weight", "[5, 0]", "not a matrix"] },
        { "LoRA 5x7 of rank 3", "alpha 2", ["alpha", "[2]", "not one number"] },
        { "LoRA 5x7 of rank 3", "alpha 0", ["alpha", "[0]", "not one number"] },
        { "LoRA 5x7 of rank 3", "alpha NaN", ["alpha", "NaN"] },
        { "LoRA 5x7 of rank 3", "dora_scale 7", ["dora_scale", "[7]", "each output or input"] },
        { "LoRA 5x7 of rank 3", "dora_scale 1 5", ["dora_scale", "[1, 5]", "each output or input"] },
        { "LoRA 5x7 of rank 3", "lora_magnitude_vector 7", ["lora_magnitude_vector", "[7]", "each output or input"] },
        { "LoRA 5x7 of rank 3", "hada_w1_a 5 3", [LoraCase.Module, "LoRA, LoHa and LoKr"] },
        { "LoRA of a 3x3 convolution with a core", "lora_mid.weight 3 4 3 3", ["lora_mid.weight [3, 4, 3, 3]", "ranks: 4 and 2"] },
        { "LoHa 5x8 of rank 3", "hada_w2_b 3 9", ["another model"] },
        { "LoKr with a product", "lokr_w1 2 6", ["6 x 24", "6 x 20"] },
        { "Difference 5x7", "diff 5 8", ["diff changes a weight of 5 x 8", "5 x 7", "another model"] },
        { "Difference 5x7", "diff 7", ["7 x 1", "5 x 7"] },
        { "Difference 5x7", "diff 0 7", ["diff", "[0, 7]", "not a matrix"] },
    };

    [Theory]
    [MemberData(nameof(Damage))]
    public void Damaged_files_are_refused_in_one_line(string name, string damage, string[] parts)
    {
        var lora = LoraCase.All.Single(c => c.Name == name);
        var words = damage.Split(' ');
        var kept = lora.Tensors.Where(t => t.Ending != words[0]);
        var file = new TensorFiles();
        foreach (var (ending, values) in kept)
        {
            file.Add($"{LoraCase.Module}.{ending}", values);
        }

        if (words is [var added, "NaN"])
        {
            file.Add($"{LoraCase.Module}.{added}", double.NaN);
        }
        else if (words.Length > 1)
        {
            long[] shape = [.. words[1..].Select(long.Parse)];
            file.Add($"{LoraCase.Module}.{words[0]}", shape, new float[shape.Aggregate(1L, (a, b) => a * b)]);
        }

        var path = file.Write(folder["damaged.safetensors"]);
        WeightsTestFiles.Refused(() => LoraSet.Open([new LoraReference(path, new(1))], Declared(lora.Shape)).Dispose(), [path, .. parts]);
    }

    [Fact]
    public void What_matches_nothing_is_listed_or_refused()
    {
        var lora = LoraCase.All[0];
        var file = new TensorFiles().Add("lora_unet_x_y.lora_up.weight", [1, 1], [1]).Add("surprise", [1], [1]);
        var path = file.Write(folder["strange.safetensors"]);
        WeightsTestFiles.Refused(
            () => LoraSet.Open([new LoraReference(path, new(1))], Declared(lora.Shape)), path, "no tensor of this model", "surprise");

        foreach (var (ending, values) in lora.Tensors)
        {
            file.Add($"{LoraCase.Module}.{ending}", values);
        }

        using var set = LoraSet.Open([new LoraReference(file.Write(folder["mixed.safetensors"]), new(1))], Declared(lora.Shape));
        var report = Assert.Single(set.Reports);
        Assert.Equal(1, report.Tensors);
        Assert.Equal(["lora_unet_x_y.lora_up.weight", "surprise"], report.Unmatched);
    }

    /// <summary>Kinds and the tensors that are left of a module.</summary>
    public static TheoryData<string, string[]> Leftovers => new()
    {
        { "LoRA 5x7 of rank 3", ["alpha"] },
        { "LoRA 5x7 of rank 3", ["lora_up.weight", "alpha"] },
        { "LoRA 5x7 of rank 3", ["lora_down.weight"] },
        { "LoHa 5x8 of rank 3", ["hada_w1_a", "hada_w1_b", "hada_w2_a", "alpha"] },
        { "LoHa 5x8 of rank 3", ["hada_w2_a", "hada_w2_b"] },
        { "LoKr with a product", ["lokr_w2_a", "lokr_w2_b"] },
        { "LoKr with a product", ["lokr_w1", "lokr_w2_a"] },
        { "LoKr of two whole matrices, whose alpha says nothing", ["lokr_w1", "alpha"] },
    };

    [Theory]
    [MemberData(nameof(Leftovers))]
    public void What_is_left_of_a_module_is_listed_and_the_rest_counts(string name, string[] endings)
    {
        var lora = LoraCase.All.Single(c => c.Name == name);
        var file = new TensorFiles().Add($"{LoraCase.Module}.dora_scale", [lora.Shape[0]], new float[lora.Shape[0]]);
        foreach (var (ending, values) in lora.Tensors.Where(t => endings.Contains(t.Ending)))
        {
            file.Add($"{LoraCase.Module}.{ending}", values);
        }

        var path = file.Write(folder["left.safetensors"]);
        WeightsTestFiles.Refused(
            () => LoraSet.Open([new LoraReference(path, new(1))], Declared(lora.Shape)),
            path, "no tensor of this model", $"{LoraCase.Module}.{endings.Min()}");

        const string other = "mid_block.attentions.0.proj_out.weight";
        file.Add("unet.mid_block.attentions.0.proj_out.lora_up.weight", [2, 1], [1, 1])
            .Add("unet.mid_block.attentions.0.proj_out.lora_down.weight", [1, 2], [1, 1]);
        using var set = LoraSet.Open(
            [new LoraReference(file.Write(folder["rest.safetensors"]), new(1))],
            [(ModelPart.UNet, [.. Declared(lora.Shape).Single().Tensors, new TensorInfo(other, TensorType.F16, [2, 2])])]);
        var report = Assert.Single(set.Reports);
        Assert.Equal(1, report.Tensors);
        Assert.Equal([.. endings.Append("dora_scale").Select(e => $"{LoraCase.Module}.{e}").Order(StringComparer.Ordinal)], report.Unmatched);
        var stored = new TensorFiles().Add(LoraCase.Weight, lora.Shape, Base(lora.Shape)).Add(other, [2, 2], [1, 2, 3, 4]);
        using var merged = set.Apply(ModelPart.UNet, SafetensorsFile.Open(stored.Write(folder["base.safetensors"])));
        Span<float> read = [0, 0, 0, 0];
        merged.Read(other, read);
        Assert.Equal([2, 3, 4, 5], read.ToArray());
        Assert.NotNull(merged.Locate(LoraCase.Weight));
    }

    [Fact]
    public void The_latents_channels_of_an_inpainting_model_change_alone()
    {
        const int channels = 9, latent = 4, taps = 9;
        var all = LoraCase.All.Where(c => c.Shape is [_, latent, 3, 3]).ToArray();
        Assert.True(all.Length > 3);
        foreach (var lora in all)
        {
            long[] shape = [lora.Shape[0], channels, 3, 3];
            var stored = Base(shape);
            var change = lora.Delta(0.5);
            double[] expected = [.. stored.Select((v, i) => v + (i / taps % channels is var c && c < latent
                ? change[(((i / taps / channels * latent) + c) * taps) + (i % taps)] : 0))];
            var merged = Merge(shape, stored, new LoraReference(lora.Write(folder["a.safetensors"]), new(0.5))).Float;
            ReferenceData.Report($"{lora}, nine channels, relative L2", Error(merged, expected), Limit);
            Assert.All(stored.Index().Where(s => s.Index / taps % channels >= latent), s => Assert.Equal(s.Item, merged[s.Index]));
        }

        var decomposed = new TensorFiles().Add($"{LoraCase.Module}.lora_up.weight", [6, 1], new float[6])
            .Add($"{LoraCase.Module}.lora_down.weight", [1, latent, 3, 3], new float[latent * taps])
            .Add($"{LoraCase.Module}.dora_scale", [6, 1, 1, 1], new float[6]);
        foreach (var (path, shape) in new[]
        {
            (decomposed.Write(folder["d.safetensors"]), new long[] { 6, channels, 3, 3 }),
            (all[0].Write(folder["a.safetensors"]), [6, channels + 1, 3, 3]),
            (all[0].Write(folder["a.safetensors"]), [6, channels, 1, 1]),
        })
        {
            WeightsTestFiles.Refused(() => LoraSet.Open([new LoraReference(path, new(1))], Declared(shape)), path, "6 x 36", "another model");
        }
    }

    /// <summary>LyCORIS trains norms, and ComfyUI saves the differences of norms and biases beside the factors of matrices.</summary>
    [Theory]
    [InlineData("w_norm", "b_norm")]
    [InlineData("diff", "diff_b")]
    public void Norms_and_biases_change(string weight, string bias)
    {
        const string norm = "mid_block.resnets.0.norm1", module = "lora_unet_mid_block_resnets_0_norm1";
        (ModelPart, IReadOnlyList<TensorInfo>)[] declared =
        [
            (ModelPart.UNet,
            [
                new TensorInfo($"{norm}.weight", TensorType.F16, [3]), new TensorInfo($"{norm}.bias", TensorType.F16, [3]),
                new TensorInfo(LoraCase.Weight, TensorType.F16, [2, 2]),
            ]),
        ];
        var file = new TensorFiles().Add($"{module}.{weight}", [3], [1, 2, 3]).Add($"{module}.{bias}", [3], [10, 20, 30])
            .Add($"{LoraCase.Module}.lora_up.weight", [2, 1], [1, 1]).Add($"{LoraCase.Module}.lora_down.weight", [1, 2], [1, 1])
            .Add($"{LoraCase.Module}.{bias}", [2], [1, 1]).Add($"{module}.lora_up.weight", [3, 1], [1, 1, 1])
            .Add($"{module}.lora_down.weight", [1, 1], [1]).Add($"{module}.dora_scale", [1, 3], [1, 1, 1]);
        using var set = LoraSet.Open([new LoraReference(file.Write(folder["n.safetensors"]), new(0.5))], declared);
        var report = Assert.Single(set.Reports);
        Assert.Equal(3, report.Tensors);
        Assert.Equal(
            [$"{LoraCase.Module}.{bias}", $"{module}.dora_scale", $"{module}.lora_down.weight", $"{module}.lora_up.weight"], report.Unmatched);
        var stored = new TensorFiles().Add($"{norm}.weight", [3], [1, 1, 1]).Add($"{norm}.bias", [3], [0, 0, 0])
            .Add(LoraCase.Weight, [2, 2], [0, 0, 0, 0]);
        using var merged = set.Apply(ModelPart.UNet, SafetensorsFile.Open(stored.Write(folder["base.safetensors"])));
        Assert.Equal([1.5f, 2, 2.5f], Values($"{norm}.weight", 3));
        Assert.Equal([5f, 10, 15], Values($"{norm}.bias", 3));
        Assert.Equal([0.5f, 0.5f, 0.5f, 0.5f], Values(LoraCase.Weight, 4));

        var other = new TensorFiles().Add($"{module}.{weight}", [4], [1, 2, 3, 4]).Write(folder["o.safetensors"]);
        WeightsTestFiles.Refused(() => LoraSet.Open([new LoraReference(other, new(1))], declared), other, "4 x 1", "3 x 1", "another model");

        float[] Values(string name, int count)
        {
            var values = new float[count];
            merged.Read(name, values);
            return values;
        }
    }

    /// <summary>A number is no magnitude, not even of a weight that has one row.</summary>
    [Fact]
    public void A_magnitude_without_dimensions_is_refused()
    {
        var file = new TensorFiles().Add($"{LoraCase.Module}.lora_up.weight", [1, 1], [1]).Add($"{LoraCase.Module}.lora_down.weight", [1, 3], [1, 1, 1])
            .Add($"{LoraCase.Module}.dora_scale", 1);
        var path = file.Write(folder["number.safetensors"]);
        WeightsTestFiles.Refused(() => LoraSet.Open([new LoraReference(path, new(1))], Declared([1, 3])), path, "dora_scale", "[]");
    }

    [Fact]
    public void Two_names_for_one_weight_are_refused()
    {
        var file = new TensorFiles();
        foreach (var module in new[] { LoraCase.Module, "unet.mid_block.attentions.0.proj_in" })
        {
            file.Add($"{module}.lora_up.weight", [5, 1], new float[5]).Add($"{module}.lora_down.weight", [1, 7], new float[7]);
        }

        var path = file.Write(folder["twice.safetensors"]);
        WeightsTestFiles.Refused(() => LoraSet.Open([new LoraReference(path, new(1))], Declared([5, 7])), path, LoraCase.Module, "both change");
    }

    [Fact]
    public void Missing_files_are_named() =>
        WeightsTestFiles.Refused(
            () => LoraSet.Open([new LoraReference("/no/such.safetensors", new(1))], Declared([5, 7])), "/no/such.safetensors");

    public void Dispose() => folder.Dispose();

    private static IEnumerable<(ModelPart Part, IReadOnlyList<TensorInfo> Tensors)> Declared(long[] shape) =>
        [(ModelPart.UNet, [new TensorInfo(LoraCase.Weight, TensorType.F16, shape)])];

    /// <summary>Values of a weight, the same in every run.</summary>
    private static float[] Base(long[] shape)
    {
        var random = new Random(7);
        return [.. Enumerable.Range(0, (int)shape.Aggregate(1L, (a, b) => a * b)).Select(_ => (float)((2 * random.NextDouble()) - 1))];
    }

    private (float[] Float, ushort[] Half) Merge(long[] shape, float[] stored, params LoraReference[] references)
    {
        using var set = LoraSet.Open(references, Declared(shape));
        var path = new TensorFiles().Add(LoraCase.Weight, shape, stored).Write(folder["base.safetensors"]);
        using var merged = set.Apply(ModelPart.UNet, SafetensorsFile.Open(path));
        var (floats, halves) = (new float[stored.Length], new ushort[stored.Length]);
        merged.Read(LoraCase.Weight, floats);
        merged.Read(LoraCase.Weight, halves);
        return (floats, halves);
    }

    private static double Error(float[] actual, double[] expected) =>
        Math.Sqrt(actual.Zip(expected, (a, e) => Math.Pow(a - e, 2)).Sum() / expected.Sum(e => e * e));
}
