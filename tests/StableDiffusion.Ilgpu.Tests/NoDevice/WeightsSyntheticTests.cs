using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Models;
using StableDiffusion.Ilgpu.Weights;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Synthetic weights against the reference: the set's test vectors and every tensor of its manifests.</summary>
public sealed partial class WeightsSyntheticTests
{
    [Fact]
    public void Fnv1a_gives_its_published_values()
    {
        Assert.Equal(0xcbf29ce484222325, SyntheticWeights.Fnv1a(""));
        Assert.Equal(0xaf63dc4c8601ec8c, SyntheticWeights.Fnv1a("a"));
    }

    [Fact]
    [Trait("Kind", "Reference")]
    public void The_test_vectors_of_the_set_come_out()
    {
        var vectors = VectorLine().Matches(File.ReadAllText(ReferenceData.PathOf("synthetic", "README.md")));
        Assert.SkipWhen(vectors.Count == 0, "the set's synthetic/README.md gives no test vectors");
        foreach (Match vector in vectors)
        {
            var (source, tensor) = Open(vector.Groups["key"].Value, Numbers(vector.Groups["shape"].Value));
            Assert.Equal(vector.Groups["hash"].Value, $"{SyntheticWeights.Fnv1a(vector.Groups["key"].Value):x16}");
            var (bits, values) = (new ushort[tensor.Count], new float[tensor.Count]);
            source.Read(tensor.Name, bits);
            source.Read(tensor.Name, values);
            Assert.Equal(vector.Groups["bits"].Value, string.Join(", ", bits.Take(8).Select(b => $"'{b:x4}'")));
            Assert.Equal(
                vector.Groups["weights"].Value.Split(", ").Select(w => float.Parse(w, CultureInfo.InvariantCulture)), values.Take(8));
            Assert.True(Widened(bits).AsSpan().SequenceEqual(values), tensor.Name);
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{vectors.Count} test vectors equal");
    }

    [Fact]
    [Trait("Kind", "Reference")]
    public void Every_tensor_of_the_manifests_has_its_sum_and_first_values()
    {
        var buffer = Array.Empty<ushort>();
        foreach (var manifest in Directory.GetFiles(ReferenceData.PathOf("synthetic"), "*-manifest.jsonl"))
        {
            var (tensors, wrong) = (0, 0);
            foreach (var (key, shape, json) in Lines(manifest))
            {
                var (source, tensor) = Open(key, shape);
                var count = (int)tensor.Count;
                Array.Resize(ref buffer, Math.Max(buffer.Length, count));
                source.Read(tensor.Name, buffer.AsSpan(0, count));
                var sum = Sum(buffer.AsSpan(0, count));
                var first = string.Join(" ", buffer.Take(Math.Min(8, count)).Select(b => $"{b:x4}"));
                tensors++;
                if (sum != json.GetProperty("sum16").GetUInt32() || first != json.GetProperty("first8").GetString())
                {
                    wrong++;
                    TestContext.Current.TestOutputHelper?.WriteLine($"{key}: sum {sum}, first values {first}; expected {json}");
                }
            }

            Assert.NotEqual(0, tensors);
            ReferenceData.Report($"synthetic {Path.GetFileName(manifest)}, tensors of {tensors} with a wrong sum or first values", wrong, 0);
        }
    }

    /// <summary>The configurations of the synthetic models declare, through the graphs, exactly the manifest's tensors.</summary>
    [Fact]
    public void The_configurations_declare_the_manifests_tensors()
    {
        const string Suffix = "-manifest.jsonl";
        foreach (var file in Directory.GetFiles(ReferenceData.PathOf("synthetic"), $"*{Suffix}"))
        {
            var model = Path.GetFileName(file)[..^Suffix.Length];
            using var source = ModelSource.Open($"synthetic:{model}");
            var stored = Lines(file)
                .ToLookup(l => l.Key.Split(':')[^2], l => new TensorInfo(l.Key.Split(':')[^1], TensorType.F16, l.Shape));
            Compare("te", ModelPart.TextEncoder, json => ClipText.Record(ClipTextConfig.Parse(json, "te"), 1), _ => false);
            Compare("unet", ModelPart.UNet, json => UNet.Record(UNetConfig.Parse(json, "unet"), 1, 8, 8, 77), _ => false);
            Compare(
                "vae", ModelPart.Vae, json => AutoencoderKl.RecordDecoder(AutoencoderKlConfig.Parse(json, "vae"), 1, 8, 8),
                AutoencoderKl.IsEncoderWeight);

            void Compare(string component, ModelPart part, Func<JsonElement, Graph> record, Func<string, bool> ignored)
            {
                var declared = record(source.Config(part)).Weights.Select(w => new TensorInfo(w.Name, TensorType.F16, w.Shape)).ToList();
                using var manifest = new SyntheticWeights("any", model, component, [.. stored[component]]);
                WeightCheck.Require(manifest, declared, ignored);
                using var opened = source.Open(part, declared);
                WeightCheck.Require(opened, declared, _ => false);
                TestContext.Current.TestOutputHelper?.WriteLine($"{model} {component}: {declared.Count} tensors declared");
            }
        }
    }

    /// <summary>Every length and start, against the definition in scalar arithmetic; values below fp16's normal range too.</summary>
    [Theory]
    [InlineData(0.7, 0)]
    [InlineData(0.2, 1)]
    [InlineData(1e-4, 0)]
    [InlineData(3e-7, 0)]
    [InlineData(60000, 0)]
    public void Vectors_equal_the_scalar_definition(double a, double b)
    {
        const ulong Seed = 0x1234567890abcdef;
        var expected = Enumerable.Range(0, 100_000).Select(i => Scalar(Seed, (ulong)i, a, b)).ToArray();
        foreach (var (start, count) in new[] { (0, 0), (0, 1), (1, 7), (3, 15), (5, 16), (2, 33), (17, 129), (0, 100_000) })
        {
            var actual = new ushort[count];
            SyntheticWeights.Fill(Seed, start, a, b, actual);
            Assert.Equal(expected[start..(start + count)], actual);
        }
    }

    [Fact]
    public void Names_select_model_and_salt()
    {
        TensorInfo[] declared = [new("conv_in.weight", TensorType.F32, [2, 4, 3, 3])];
        Assert.Equal(Read("synthetic:sd15"), Read("synthetic:sd15:public"));
        Assert.NotEqual(Read("synthetic:sd15"), Read("synthetic:sd15:other"));
        Assert.NotEqual(Read("synthetic:sd15:a"), Read("synthetic:sd15:a:b"));
        using var source = ModelSource.Open("synthetic:sd15");
        Assert.Equal(("synthetic-sd15", null, null), (source.Name, source.ShortHash, source.Tokenizer));
        Assert.Equal(0.012, source.SchedulerConfig.GetProperty("beta_end").GetDouble());
        using var weights = source.Open(ModelPart.UNet, declared);
        WeightsTestFiles.Refused(() => weights.Read("conv_in.wait", new float[1]), "synthetic:sd15 unet", "nearest: conv_in.weight");

        ushort[] Read(string model)
        {
            using var named = ModelSource.Open(model);
            using var opened = named.Open(ModelPart.UNet, declared);
            var bits = new ushort[72];
            opened.Read("conv_in.weight", bits);
            return bits;
        }
    }

    [Theory]
    [InlineData("synthetic:", "valid: synthetic:sd15[:SALT]")]
    [InlineData("synthetic:sd99", "valid: synthetic:sd15[:SALT]")]
    [InlineData("synthetic:sd99:salt", "valid: synthetic:sd15[:SALT]")]
    [InlineData("synthetic:sd15:", "the salt is empty")]
    public void An_unknown_model_is_refused_with_the_valid_ones(string model, string message) =>
        WeightsTestFiles.Refused(() => ModelSource.Open(model), model, message);

    private static ushort Scalar(ulong seed, ulong i, double a, double b)
    {
        var z = seed + ((i + 1) * 0x9e3779b97f4a7c15);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        z ^= z >> 31;
        var u = ((z >> 40) * (1.0 / 8388608)) - 1;
        var product = a * u;
        return BitConverter.HalfToUInt16Bits((Half)(product + b));
    }

    private static float[] Widened(ushort[] bits) => Array.ConvertAll(bits, b => (float)BitConverter.UInt16BitsToHalf(b));

    private static uint Sum(ReadOnlySpan<ushort> bits)
    {
        var sum = 0u;
        foreach (var b in bits)
        {
            sum += b;
        }

        return sum;
    }

    private static (SyntheticWeights Source, TensorInfo Tensor) Open(string key, long[] shape)
    {
        var parts = key.Split(':');
        var tensor = new TensorInfo(parts[^1], TensorType.F16, shape);
        return (new SyntheticWeights(string.Join(':', parts[..^3]), parts[^3], parts[^2], [tensor]), tensor);
    }

    private static IEnumerable<(string Key, long[] Shape, JsonElement Json)> Lines(string manifest) =>
        from line in File.ReadLines(manifest)
        let json = JsonElement.Parse(line)
        select (json.GetProperty("key").GetString()!, json.GetProperty("shape").EnumerateArray().Select(e => e.GetInt64()).ToArray(), json);

    private static long[] Numbers(string list) => [.. list.Split(", ").Select(n => long.Parse(n, CultureInfo.InvariantCulture))];

    [GeneratedRegex(
        @"key `(?<key>[^`]+)`, fnv1a64 = `0x(?<hash>[0-9a-f]+)`, shape \[(?<shape>[^\]]+)\].*fp16\) = \[(?<weights>[^\]]+)\], as bits = \[(?<bits>[^\]]+)\]")]
    private static partial Regex VectorLine();
}
