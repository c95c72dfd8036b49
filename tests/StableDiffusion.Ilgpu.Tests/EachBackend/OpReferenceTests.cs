using StableDiffusion.Ilgpu.Compilation;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>Every single operator of the reference data, on every backend, unfused and fused; limits of its README.</summary>
[Collection(SharedDevice.Name)]
[Trait("Kind", "Reference")]
public sealed class OpReferenceTests(DeviceFixture fixture)
{
    private const double HalfLimit = 2e-3;

    public static TheoryData<string> Names => [.. ReferenceOps.Names];

    public static MatrixTheoryData<string, string> Cases => new(ReferenceOps.Names, Backend.Names);

    public static MatrixTheoryData<string, string> Interpreted => new(ReferenceOps.Names, Backend.Interpreted.Select(b => b.ToString()));

    [Theory]
    [MemberData(nameof(Names))]
    public void Naive_reference_is_right(string name)
    {
        var op = ReferenceOps.Load(name);
        var actual = Reference.Evaluate(op.Case.Record(), OpRun.StoredData(op.Case, half: false))["out"].Select(v => (float)v).ToArray();

        // Doubles, rounded to fp32 at the end as the stored results are; the sinusoid's angles were fp32 there.
        ReferenceData.Report($"ops {name}, Reference", Comparisons.RelativeL2(actual, op.Expected),
            ReferenceOps.Kind(name) == "timestep_embedding" ? 2e-5 : 1e-7);
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Result_is_the_stored_one(string name, string backend)
    {
        var target = Backend.Find(backend);
        if (target.Half && name == "group_norm.large_mean")
        {
            ReferenceData.LeaveOut($"ops {name}, {backend}", "mean 100 and deviation 1e-3: fp16 cannot hold the values");
        }
        else if (target.Half)
        {
            Check<ushort>(ReferenceOps.Load(name), target);
        }
        else
        {
            Check<float>(ReferenceOps.Load(name), target);
        }
    }

    /// <summary>The kernels for NVIDIA's GPUs.</summary>
    [Theory]
    [MemberData(nameof(Interpreted))]
    public void Result_of_interpreted_kernels_is_the_stored_one(string name, string backend)
    {
        if (ReferenceOps.Load(name).Case.Flops is var flops && flops > Backend.InterpretedFlops)
        {
            ReferenceData.LeaveOut($"ops {name}, {backend}", $"{flops} multiplications and additions, more than {Backend.InterpretedFlops}, would be interpreted too long");
        }
        else
        {
            Result_is_the_stored_one(name, backend);
        }
    }

    private void Check<T>(ReferenceOp op, Backend backend) where T : unmanaged
    {
        var (comparisons, limit) = (new Comparisons(), backend.Half ? HalfLimitOf(op) : FloatLimit(op.Case.Name));
        foreach (var (fusion, options) in new[] { ("unfused", FusionOptions.None), ("fused", FusionOptions.All) })
        {
            var actual = OpRun.Run<T>(fixture, backend, op.Case, options);
            var what = $"ops {op.Case.Name}, {backend}, {fusion}";
            if (op.Case.Name == "gelu_erf" && !backend.Half)
            {
                var pairs = actual.Zip(op.Expected, (a, e) => (Error: Math.Abs((double)a - e), Size: Math.Abs((double)e))).ToArray();
                comparisons.Report($"{what}, largest absolute", pairs.Max(p => p.Error), 1e-5);
                comparisons.Report(
                    $"{what}, largest relative above 1e-3", pairs.Where(p => p.Size > 1e-3).Max(p => p.Error / p.Size), 1e-6);
            }
            else
            {
                comparisons.Compare(what, actual, op.Expected, limit);
            }
        }

        comparisons.Verify();
    }

    /// <summary>
    /// fp16 rounds queries and keys before anything is computed, and a softmax changes with that by the size of its logits, which a set chooses. A
    /// kernel is not to blame for what the exact result of rounded inputs differs by; the README's limit holds where that is less.
    /// </summary>
    private static double HalfLimitOf(ReferenceOp op)
    {
        if (ReferenceOps.Kind(op.Case.Name) != "attention")
        {
            return HalfLimit;
        }

        float[] exact = [.. Reference.Evaluate(op.Case.Record(), OpRun.StoredData(op.Case, half: true))["out"].Select(v => (float)v)];
        return Math.Max(HalfLimit, Comparisons.RelativeL2(exact, op.Expected) + op.Case.Limit(half: true));
    }

    private static double FloatLimit(string name) => name switch
    {
        "attention.10" => 1e-5,
        "group_norm.large_mean" => 1e-2,
        _ when ReferenceOps.Kind(name) == "timestep_embedding" => 2e-5,
        _ => 1e-6,
    };
}
