using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Graphs;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>
/// The activations value by value, as a kernel of their own and in a contraction's epilogue, which computes them in registers.
/// </summary>
[Collection(SharedDevice.Name)]
public sealed class ActivationTests(DeviceFixture fixture)
{
    private const int Rows = 3000;
    private const int Columns = 37;

    /// <summary>A multiple of 8, so that GPUs take the ways of theirs; few enough for interpreted kernels.</summary>
    private const int HalfColumns = 40;

    /// <summary>The smallest fp16 value of full precision, 2^-14.</summary>
    private const double HalfNormal = 1.0 / (1 << 14);

    public static MatrixTheoryData<string, string> Cases =>
        new(Enum.GetNames<Activation>().Skip(1), Backend.All.Where(b => !b.Half).Select(b => b.ToString()));

    public static MatrixTheoryData<string, string> HalfCases => new(
        Enum.GetNames<Activation>().Skip(1), Backend.All.Where(b => b.Half).Concat(Backend.Interpreted).Select(b => b.ToString()));

    [Theory]
    [MemberData(nameof(Cases))]
    public void Values_are_right_to_the_last_digits(string activation, string backend)
    {
        var op = Case(activation, Columns);
        var expected = Reference.Evaluate(op.Record(), OpRun.StoredData(op, half: false))["out"];
        var comparisons = new Comparisons();
        foreach (var (fusion, options) in new[] { ("by itself", FusionOptions.None), ("in the epilogue", FusionOptions.All) })
        {
            var actual = OpRun.Run<float>(fixture, Backend.Find(backend), op, options);
            var pairs = actual.Zip(expected, (a, e) => (Error: Math.Abs(a - e), Size: Math.Abs(e))).ToArray();
            comparisons.Report($"{op.Name}, {backend}, {fusion}, largest absolute", pairs.Max(p => p.Error), 1e-5);

            // What the reference's README asks of GELU, for all of them.
            comparisons.Report($"{op.Name}, {backend}, {fusion}, largest relative above 1e-3",
                pairs.Where(p => p.Size > 1e-3).Max(p => p.Error / p.Size), 1e-6);
        }

        comparisons.Verify();
    }

    [Theory]
    [MemberData(nameof(HalfCases))]
    public void Half_values_are_right_to_their_rounding(string activation, string backend)
    {
        var op = Case(activation, HalfColumns);
        var expected = Reference.Evaluate(op.Record(), OpRun.StoredData(op, half: true))["out"];
        var comparisons = new Comparisons();
        foreach (var (fusion, options) in new[] { ("by itself", FusionOptions.None), ("in the epilogue", FusionOptions.All) })
        {
            var actual = OpRun.Run<ushort>(fixture, Backend.Find(backend), op, options);
            var pairs = actual.Zip(expected, (a, e) => (Error: Math.Abs((double)a - e), Size: Math.Abs((double)e))).ToArray();

            // The source is fp16 already, so only the result is rounded: by up to 2^-11 = 4.9e-4 of itself, 2^-25 = 3.0e-8 where fp16 has fewer
            // digits. What is left of the limits is for the functions, a few millionths.
            comparisons.Report($"{op.Name}, {backend}, {fusion}, largest relative",
                pairs.Where(p => p.Size >= HalfNormal).Max(p => p.Error / p.Size), 5e-4);
            comparisons.Report($"{op.Name}, {backend}, {fusion}, largest absolute of small values",
                pairs.Where(p => p.Size < HalfNormal).Max(p => p.Error), 3.1e-8);
        }

        comparisons.Verify();
    }

    /// <summary>The linear layer's weight is the identity: it changes nothing.</summary>
    private static OpCase Case(string activation, int columns) => new($"{activation} of -12 to 12", g =>
    {
        var x = g.Input("x", new Shape(1, 1, Rows, columns), ElementType.Activation, Rate.Step);
        g.Output("out", (new Scope(g) / "identity").Linear(x, columns, bias: false).Activate(Enum.Parse<Activation>(activation)));
    })
    {
        Values = (name, count) => name switch
        {
            "x" => [.. Enumerable.Range(0, count).Select(i => (24f * i / count) - 12)],
            "identity.weight" => [.. Enumerable.Range(0, count).Select(i => i % (columns + 1) == 0 ? 1f : 0)],
            _ => null,
        },
    };
}
