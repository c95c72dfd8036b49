using System.Text.RegularExpressions;
using StableDiffusion.Ilgpu.Sampling.Noise;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

public class NoiseTests
{
    // Of the reference's README: logarithm, sine and cosine are fp32 in the originals.
    private const double Limit = 1e-5;

    private static readonly Lazy<TestTensors> Tensors = new(() => TestTensors.Open("rng", "rng.safetensors"));

    /// <summary>The names of the stored draws without the number of the draw.</summary>
    public static TheoryData<string> Streams => [.. Tensors.Value.Names.Select(n => n[..n.LastIndexOf('/')]).Distinct()];

    [Theory]
    [MemberData(nameof(Streams))]
    [Trait("Kind", "Reference")]
    public void Successive_draws_are_the_references(string stream)
    {
        var parts = Regex.Match(stream, "^(?<generator>torch_cpu|philox)/seed=(?<seed>-?[0-9]+)/shape=");
        Assert.True(parts.Success, stream);
        var generator = parts.Groups["generator"].Value == "philox" ? NoiseGenerator.Cuda : NoiseGenerator.Cpu;
        var normal = NormalStream.Create(generator, long.Parse(parts.Groups["seed"].Value));
        var draws = 0;
        for (; Tensors.Value.Has($"{stream}/draw{draws}"); draws++)
        {
            var expected = Tensors.Value.Floats($"{stream}/draw{draws}");
            var actual = new float[expected.Length];
            normal.Fill(actual);
            ReferenceData.Report($"rng {stream}/draw{draws}", expected.Zip(actual, (e, a) => Math.Abs((double)e - a)).Max(), Limit);
        }

        Assert.NotEqual(0, draws);
    }
}
