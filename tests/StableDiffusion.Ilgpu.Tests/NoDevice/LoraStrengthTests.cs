using System.Text.Json;
using StableDiffusion.Ilgpu.Tests.EndToEnd;
using StableDiffusion.Ilgpu.Weights;
using StableDiffusion.Ilgpu.Weights.Lora;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>What beside a LoRA's factors decides how it counts: magnitudes (DoRA), PEFT's settings; and the hash that it is known by.</summary>
public sealed class LoraStrengthTests : IDisposable
{
    /// <summary>Relative L2: sums of a few products, norms and the merged value are rounded to fp32.</summary>
    private const double Limit = 1e-6;

    private readonly TemporaryFolder folder = new();

    /// <summary>Every kind of LoRA that is made of factors, and in which form its magnitudes are: of rows or columns, LyCORIS' name or PEFT's.</summary>
    public static MatrixTheoryData<string, string> Decomposed =>
        new(LoraCase.All.Where(c => c.Tensors.Count > 1).Select(c => c.Name), ["rows", "columns", "PEFT", "PEFT, convolution"]);

    [Theory]
    [InlineData("I64", 3)]
    [InlineData("I32", 3)]
    [InlineData("I16", -3)]
    [InlineData("I8", -3)]
    [InlineData("U8", 200)]
    public void An_alpha_may_be_an_integer(string type, long alpha)
    {
        var lora = LoraCase.All.Single(c => c.Name == "LoRA 5x7 of rank 3");
        var stored = Base(lora.Shape);
        var kind = Enum.Parse<TensorType>(type);
        double[] expected = [.. stored.Zip(lora.Delta(alpha / (3 * lora.Factor)), (a, b) => a + b)];
        var file = File(lora with { Tensors = [.. lora.Tensors.Where(t => t.Ending != "alpha")] })
            .Add($"{LoraCase.Module}.alpha", kind, [], BitConverter.GetBytes(alpha)[..SafetensorsHeader.BytesOf(kind)]);
        foreach (var path in new[] { file.Write(folder["a.safetensors"]), file.WriteTorch(folder["a.ckpt"]) })
        {
            var merged = Merge(lora.Shape, stored, new LoraReference(path, new(1)));
            ReferenceData.Report($"alpha as {type}, relative L2", Error(merged, expected), Limit);
        }
    }

    [Theory]
    [InlineData("LoRA 5x7 of rank 3")]
    [InlineData("LoRA without alpha")]
    [InlineData("LoKr of two whole matrices, whose alpha says nothing")]
    public void A_scale_takes_the_place_of_alpha(string name)
    {
        var lora = LoraCase.All.Single(c => c.Name == name);
        var stored = Base(lora.Shape);
        double[] expected = [.. stored.Zip(lora.Delta(0.5 * 0.25 / lora.Factor), (a, b) => a + b)];
        var path = File(lora).Add($"{LoraCase.Module}.scale", [], [0.25f]).Write(folder["a.safetensors"]);
        ReferenceData.Report($"{name}, scale, relative L2", Error(Merge(lora.Shape, stored, new LoraReference(path, new(0.5))), expected), Limit);
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    public void Values_that_are_no_finite_numbers_are_refused(float value)
    {
        var (up, down) = (Base([5, 3]), Base([3, 7]));
        down[20] = value;
        var path = new TensorFiles().Add($"{LoraCase.Module}.lora_up.weight", [5, 3], up).Add($"{LoraCase.Module}.lora_down.weight", [3, 7], down)
            .Write(folder["a.safetensors"]);
        WeightsTestFiles.Refused(
            () => Merge([5, 7], Base([5, 7]), new LoraReference(path, new(1))), path, $"{LoraCase.Module}.lora_down.weight", "no finite numbers");

        var magnitude = new TensorFiles().Add($"{LoraCase.Module}.lora_up.weight", [5, 3], up)
            .Add($"{LoraCase.Module}.lora_down.weight", [3, 7], Base([3, 7]))
            .Add($"{LoraCase.Module}.dora_scale", [5, 1], [1, 1, value, 1, 1]).Write(folder["m.safetensors"]);
        WeightsTestFiles.Refused(
            () => Merge([5, 7], Base([5, 7]), new LoraReference(magnitude, new(1))), magnitude, "dora_scale", "no finite numbers");
    }

    [Theory]
    [InlineData("I64", 2)]
    [InlineData("Bool", 1)]
    public void An_alpha_that_is_not_one_number_is_refused(string type, int count)
    {
        var lora = LoraCase.All.Single(c => c.Name == "LoRA 5x7 of rank 3");
        var kind = Enum.Parse<TensorType>(type);
        var path = File(lora with { Tensors = [.. lora.Tensors.Where(t => t.Ending != "alpha")] })
            .Add($"{LoraCase.Module}.alpha", kind, [count], new byte[count * SafetensorsHeader.BytesOf(kind)]).Write(folder["a.safetensors"]);
        WeightsTestFiles.Refused(
            () => LoraSet.Open([new LoraReference(path, new(1))], Declared([5, 7])),
            path, $"{LoraCase.Module}.alpha is {type}", $"[{count}]", "not one number");
    }

    [Fact]
    public void Text_encoder_and_unet_each_have_a_scale()
    {
        const string weight = "text_model.encoder.layers.0.mlp.fc1.weight";
        var lora = LoraCase.All.Single(c => c.Name == "LoRA without alpha");
        var stored = Base(lora.Shape);
        var file = File(lora);
        foreach (var (ending, values) in lora.Tensors)
        {
            file.Add($"lora_te_text_model_encoder_layers_0_mlp_fc1.{ending}", values);
        }

        var path = file.Write(folder["both.safetensors"]);
        foreach (var (scale, text, unet) in new[] { (":0.5", 0.5, 0.5), (":0.5:2", 0.5, 2), (":0:2", 0, 2), (":0.5:0", 0.5, 0), ("", 1, 1) })
        {
            using var set = LoraSet.Open(
                [LoraReference.Parse(path + scale)],
                [.. Declared(lora.Shape), (ModelPart.TextEncoder, [new TensorInfo(weight, TensorType.F16, lora.Shape)])]);
            foreach (var (part, name, strength) in new[] { (ModelPart.TextEncoder, weight, text), (ModelPart.UNet, LoraCase.Weight, unet) })
            {
                using var merged = set.Apply(
                    part, SafetensorsFile.Open(new TensorFiles().Add(name, lora.Shape, stored).Write(folder[$"{part}.safetensors"])));
                var read = new float[stored.Length];
                merged.Read(name, read);
                double[] expected = [.. stored.Zip(lora.Delta(strength), (a, b) => a + b)];
                ReferenceData.Report($"{part} at {strength}, relative L2", Error(read, expected), Limit);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Decomposed))]
    public void Decomposed_weight_has_the_magnitudes(string name, string form)
    {
        var lora = LoraCase.All.Single(c => c.Name == name);
        var isOfColumns = form == "columns";
        var (outputs, inputs) = ((int)lora.Shape[0], (int)lora.Shape[1]);
        var taps = (int)lora.Shape[2..].Aggregate(1L, (a, b) => a * b);
        long[] shape = form switch
        {
            "rows" => [outputs, .. lora.Shape[1..].Select(_ => 1L)],
            "columns" => [1, inputs, .. lora.Shape[2..].Select(_ => 1L)],
            "PEFT" => [outputs],
            _ => [1, outputs, 1, 1],
        };
        float[] magnitudes = [.. Enumerable.Range(0, isOfColumns ? inputs : outputs).Select(i => 0.5f + (i / 8f))];
        var file = File(lora).Add($"{LoraCase.Module}.{(form[0] == 'P' ? "lora_magnitude_vector" : "dora_scale")}", shape, magnitudes);
        var path = file.Write(folder["dora.safetensors"]);
        var stored = Base(lora.Shape);
        double[] changed = [.. stored.Zip(lora.Delta(1), (a, b) => a + b)];
        int Group(int i) => isOfColumns ? i / taps % inputs : i / taps / inputs;
        var norms = changed.Select((v, i) => (Group: Group(i), v)).GroupBy(x => x.Group).ToDictionary(g => g.Key, g => Math.Sqrt(g.Sum(x => x.v * x.v)));
        foreach (var scale in new[] { 1, 0.5, -2 })
        {
            double[] expected = [.. changed.Select((v, i) => stored[i] + (scale * ((magnitudes[Group(i)] * v / norms[Group(i)]) - stored[i])))];
            var merged = Merge(lora.Shape, stored, new LoraReference(path, new(scale)));
            ReferenceData.Report($"{name}, magnitudes of {form}, at {scale}, relative L2", Error(merged, expected), Limit);
        }
    }

    [Theory]
    [InlineData(new long[] { 2, 1 }, new float[] { 7, 10 })]
    [InlineData(new long[] { 1, 3 }, new float[] { 6, 8, 7 })]
    public void What_is_zero_in_all_of_a_row_or_column_has_no_direction_and_stays(long[] shape, float[] magnitudes)
    {
        var path = new TensorFiles().Add($"{LoraCase.Module}.lora_up.weight", [2, 1], [0, 0]).Add($"{LoraCase.Module}.lora_down.weight", [1, 3], [0, 0, 0])
            .Add($"{LoraCase.Module}.dora_scale", shape, magnitudes).Write(folder["dora.safetensors"]);
        Assert.Equal([0, 0, 0, 6, 8, 0], Merge([2, 3], [0, 0, 0, 3, 4, 0], new LoraReference(path, new(1))));
    }

    [Fact]
    public void Decomposed_loras_change_the_models_own_weight_and_then_add_up()
    {
        var all = LoraCase.All.Where(c => c.Shape is [6, 6, 3, 3]).ToArray();
        var stored = Base(all[0].Shape);
        var expected = stored.Select(v => (double)v).ToArray();
        var references = new List<LoraReference>();
        foreach (var lora in all)
        {
            var path = File(lora).Add($"{LoraCase.Module}.dora_scale", [6, 1, 1, 1], [2, 2, 2, 2, 2, 2]).Write(folder[$"{references.Count}.safetensors"]);
            references.Add(new(path, new(0.5)));
            var alone = Merge(lora.Shape, stored, references[^1]);
            expected = [.. expected.Select((v, i) => v + alone[i] - stored[i])];
        }

        Assert.True(references.Count > 1);
        ReferenceData.Report($"{all.Length} decomposed files, relative L2", Error(Merge(all[0].Shape, stored, [.. references]), expected), Limit);
    }

    /// <summary>PEFT's settings, and what the change of rank 3 must be multiplied by.</summary>
    public static TheoryData<string, double> Settings => new()
    {
        { """{"r": 3, "lora_alpha": 6}""", 2 },
        { """{"r": 3, "lora_alpha": 6, "use_rslora": true}""", 6 / Math.Sqrt(3) },
        { """{"r": 3, "lora_alpha": 6, "alpha_pattern": {"attentions.0.proj_in": 12, "attentions.1.proj_in": 24}}""", 4 },
        { """{"r": 3, "lora_alpha": 6, "alpha_pattern": {"tentions.0.proj_in": 12}}""", 2 },
        { """{"r": 3}""", 1 },
    };

    [Theory]
    [MemberData(nameof(Settings))]
    public void Settings_of_peft_stand_beside_the_file_or_in_its_metadata(string settings, double factor)
    {
        var lora = LoraCase.All.Single(c => c.Name == "LoRA without alpha");
        var stored = Base(lora.Shape);
        double[] expected = [.. stored.Zip(lora.Delta(factor), (a, b) => a + b)];
        System.IO.File.WriteAllText(folder["adapter_config.json"], settings);
        var beside = File(lora, "base_model.model.mid_block.attentions.0.proj_in").Write(folder["adapter_model.safetensors"]);
        ReferenceData.Report("alpha beside the file, relative L2", Error(Merge(lora.Shape, stored, new LoraReference(beside, new(1))), expected), Limit);

        // Metadata of diffusers count for their own component, and a configuration for PEFT's own file alone.
        var packed = JsonSerializer.Deserialize<Dictionary<string, JsonElement>>(settings)!.ToDictionary(s => $"unet.{s.Key}", s => s.Value);
        var inside = new Dictionary<string, string> { [PeftAlphas.MetadataKey] = JsonSerializer.Serialize(packed) };
        var path = File(lora, "unet.mid_block.attentions.0.proj_in").Write(folder["a.safetensors"], inside);
        ReferenceData.Report("alpha in the metadata, relative L2", Error(Merge(lora.Shape, stored, new LoraReference(path, new(1))), expected), Limit);
        Assert.Equal(
            Merge(lora.Shape, stored, new LoraReference(File(lora).Write(folder["c.safetensors"]), new(1))),
            Merge(lora.Shape, stored, new LoraReference(File(lora).Write(folder["b.safetensors"], inside), new(1))));
    }

    [Theory]
    [InlineData("""{"lora_alpha": "x"}""", "lora_alpha", "not a number")]
    [InlineData("""{"lora_alpha": 1, "alpha_pattern": {".*": 2}}""", "alpha_pattern", "'.*'")]
    [InlineData("""{"lora_alpha": 1, "alpha_pattern": 3}""", "alpha_pattern", "not an object")]
    [InlineData("{", "not valid JSON")]
    public void Settings_that_cannot_be_read_are_refused(string settings, params string[] parts)
    {
        System.IO.File.WriteAllText(folder["adapter_config.json"], settings);
        var path = File(LoraCase.All.Single(c => c.Name == "LoRA without alpha")).Write(folder["adapter_model.safetensors"]);
        WeightsTestFiles.Refused(
            () => LoraSet.Open([new LoraReference(path, new(1))], Declared([5, 7])), [folder["adapter_config.json"], .. parts]);
    }

    /// <summary>Each would be looked for in all, and each of the model's modules too.</summary>
    [Fact]
    public void More_patterns_than_modules_are_refused()
    {
        var patterns = string.Join(',', Enumerable.Range(0, 10_001).Select(i => $"\"p{i}\":1"));
        Settings_that_cannot_be_read_are_refused($$"""{"lora_alpha": 1, "alpha_pattern": { {{patterns}} } }""", "alpha_pattern", "10001 patterns", "10000");
    }

    [Fact]
    public void A_file_is_known_by_its_tensors_or_by_what_its_trainer_wrote()
    {
        var lora = LoraCase.All[0];
        string Hash(string path)
        {
            using var set = LoraSet.Open([new LoraReference(path, new(1))], Declared(lora.Shape));
            return set.Reports[0].ShortHash.Value;
        }

        var plain = File(lora).Write(folder["a.safetensors"]);
        var bytes = System.IO.File.ReadAllBytes(plain);
        var behind = Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(bytes.AsSpan(8 + (int)BitConverter.ToInt64(bytes))));
        Assert.Equal(behind[..12], Hash(plain));
        Assert.Equal(behind[..12], Hash(File(lora).Write(folder["b.safetensors"], new Dictionary<string, string> { ["x"] = "y" })));
        var written = new Dictionary<string, string> { ["sshs_model_hash"] = "0123456789abcdef" };
        Assert.Equal("0123456789ab", Hash(File(lora).Write(folder["c.safetensors"], written)));
        foreach (var other in new[] { "0123456789", "not a hash, but a longer text" })
        {
            written["sshs_model_hash"] = other;
            Assert.Equal(behind[..12], Hash(File(lora).Write(folder["other.safetensors"], written)));
        }

        var torch = File(lora).WriteTorch(folder["d.pt"]);
        Assert.Equal(PullServer.Sha256(System.IO.File.ReadAllBytes(torch))[..12], Hash(torch));
    }

    public void Dispose() => folder.Dispose();

    private static TensorFiles File(LoraCase lora, string module = LoraCase.Module)
    {
        var file = new TensorFiles();
        foreach (var (ending, values) in lora.Tensors)
        {
            file.Add($"{module}.{ending}", values);
        }

        return file;
    }

    private static IEnumerable<(ModelPart Part, IReadOnlyList<TensorInfo> Tensors)> Declared(long[] shape) =>
        [(ModelPart.UNet, [new TensorInfo(LoraCase.Weight, TensorType.F16, shape)])];

    private static float[] Base(long[] shape)
    {
        var random = new Random(7);
        return [.. Enumerable.Range(0, (int)shape.Aggregate(1L, (a, b) => a * b)).Select(_ => (float)((2 * random.NextDouble()) - 1))];
    }

    private float[] Merge(long[] shape, float[] stored, params LoraReference[] references)
    {
        using var set = LoraSet.Open(references, Declared(shape));
        using var merged = set.Apply(
            ModelPart.UNet, SafetensorsFile.Open(new TensorFiles().Add(LoraCase.Weight, shape, stored).Write(folder["base.safetensors"])));
        var values = new float[stored.Length];
        merged.Read(LoraCase.Weight, values);
        return values;
    }

    private static double Error(float[] actual, double[] expected) =>
        Math.Sqrt(actual.Zip(expected, (a, e) => Math.Pow(a - e, 2)).Sum() / expected.Sum(e => e * e));
}
