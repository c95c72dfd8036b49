using System.Numerics;
using System.Runtime.InteropServices;
using StableDiffusion.Ilgpu.Weights;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>The values that a safetensors file gives, in every float type, exactly.</summary>
public sealed class WeightsReadTests : IDisposable
{
    private readonly WeightsTestFiles files = new();

    public void Dispose() => files.Dispose();

    [Fact]
    public void Every_fp16_pattern_reads_exactly()
    {
        var bits = Enumerable.Range(0, 65536).Select(i => (ushort)i).ToArray();
        var (single, half) = ReadBoth("F16", bits);
        Assert.Equal(bits, half);
        Check(bits.Length, i => (float)BitConverter.UInt16BitsToHalf(bits[i]), i => single[i]);
    }

    [Fact]
    public void Every_bf16_pattern_reads_exactly()
    {
        var bits = Enumerable.Range(0, 65536).Select(i => (ushort)i).ToArray();
        var (single, half) = ReadBoth("BF16", bits);
        Assert.Equal(bits.Select(b => (uint)b << 16), single.Select(BitConverter.SingleToUInt32Bits));
        CheckHalf(bits.Length, i => (Half)BitConverter.UInt32BitsToSingle((uint)bits[i] << 16), half);
    }

    [Fact]
    public void Every_fp8_pattern_reads_exactly()
    {
        var bits = Enumerable.Range(0, 256).Select(i => (byte)i).ToArray();
        var (single, half) = ReadBoth("F8_E4M3", bits);
        Check(256, i => (float)Number(bits[i], fractionBits: 3, bias: 7, finiteOnly: true), i => single[i]);
        CheckHalf(256, i => (Half)Number(bits[i], fractionBits: 3, bias: 7, finiteOnly: true), half);
        Assert.Equal((448f, -448f, 0.001953125f), (single[0x7e], single[0xfe], single[1]));

        (single, half) = ReadBoth("F8_E5M2", bits);
        Check(256, i => (float)Number(bits[i], fractionBits: 2, bias: 15, finiteOnly: false), i => single[i]);
        Assert.Equal(bits.Select(b => (ushort)(b << 8)), half);
        Assert.Equal((57344f, float.PositiveInfinity, 1.52587890625e-5f), (single[0x7b], single[0x7c], single[1]));
    }

    [Fact]
    public void Fp32_reads_as_it_is_and_rounds_to_nearest_even()
    {
        var values = Neighbours().Select(d => (float)d).Concat(Neighbours().Select(d => MathF.BitIncrement((float)d)))
            .Concat(Neighbours().Select(d => MathF.BitDecrement((float)d)))
            .Concat([float.NaN, float.PositiveInfinity, float.NegativeInfinity, float.Epsilon, float.MaxValue, -0f]).ToArray();
        var (single, half) = ReadBoth("F32", values);
        Assert.Equal(values.Select(BitConverter.SingleToUInt32Bits), single.Select(BitConverter.SingleToUInt32Bits));
        CheckHalf(values.Length, i => NearestHalf(values[i]), half);
    }

    [Fact]
    public void Fp64_rounds_once()
    {
        var values = Neighbours().Concat(Neighbours().Select(Math.BitIncrement)).Concat(Neighbours().Select(Math.BitDecrement))
            .Concat([double.NaN, double.PositiveInfinity, double.NegativeInfinity, double.Epsilon, double.MaxValue, -0d, 1e-40, 1 + 1e-8])
            .ToArray();
        var (single, half) = ReadBoth("F64", values);
        Check(values.Length, i => (float)values[i], i => single[i]);
        CheckHalf(values.Length, i => NearestHalf(values[i]), half);

        // The case is there to fail: by way of fp32, some of these come out differently.
        Assert.Contains(values, v => !double.IsNaN(v) && NearestHalf(v) != (Half)(float)v);
    }

    [Fact]
    public void Tensors_at_odd_offsets_read_right()
    {
        var data = new byte[1 + (4 * 5) + 1 + (8 * 3)];
        MemoryMarshal.AsBytes<float>([1, 2, 3, 4, 5]).CopyTo(data.AsSpan(1));
        MemoryMarshal.AsBytes<double>([6, 7, 8]).CopyTo(data.AsSpan(22));
        var path = files.WriteSafetensors(
            "odd.safetensors",
            """
            {"p":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"f":{"dtype":"F32","shape":[5],"data_offsets":[1,21]},
            "q":{"dtype":"BOOL","shape":[1],"data_offsets":[21,22]},"d":{"dtype":"F64","shape":[3],"data_offsets":[22,46]}}
            """,
            data);
        using var file = SafetensorsFile.Open(path);
        var (floats, doubles, halves) = (new float[5], new float[3], new ushort[5]);
        file.Read("f", floats);
        file.Read("d", doubles);
        file.Read("f", halves);
        Assert.Equal([1, 2, 3, 4, 5], floats);
        Assert.Equal([6, 7, 8], doubles);
        Assert.Equal([(Half)1, (Half)2, (Half)3, (Half)4, (Half)5], halves.Select(BitConverter.UInt16BitsToHalf));
    }

    [Fact]
    public void Wrong_reads_are_refused()
    {
        var path = files.WriteSafetensors(
            "w.safetensors",
            """{"conv.weight":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"ids":{"dtype":"I64","shape":[1],"data_offsets":[8,16]}}""",
            new byte[16]);
        using var file = SafetensorsFile.Open(path);
        WeightsTestFiles.Refused(() => file.Read("conv.wait", new float[2]), path, "conv.wait is missing", "nearest: conv.weight");
        WeightsTestFiles.Refused(() => file.Read("ids", new float[1]), path, "ids has element type I64", "F16, BF16, F32, F64");
        Assert.Throws<ArgumentException>(() => file.Read("conv.weight", new float[3]));
        Assert.Throws<ArgumentException>(() => file.Read("conv.weight", new ushort[1]));
    }

    [Fact]
    public void Large_tensors_read_in_several_windows_by_several_threads_and_stay_unmapped()
    {
        // 5 million elements are three windows.
        const int Count = 5_000_001;
        var path = files.PathOf("large.safetensors");
        TensorInfo[] tensors = [new("a", TensorType.F16, [Count]), new("b", TensorType.F32, [Count])];
        SafetensorsWriter.Write(path, tensors, (tensor, bytes) =>
        {
            for (var i = 0; i < Count; i++)
            {
                if (tensor.Type == TensorType.F16)
                {
                    MemoryMarshal.Cast<byte, ushort>(bytes)[i] = PatternHalf(i);
                }
                else
                {
                    MemoryMarshal.Cast<byte, float>(bytes)[i] = i;
                }
            }
        });

        using var file = SafetensorsFile.Open(path);
        Parallel.For(0, 8, thread =>
        {
            if (thread % 2 == 0)
            {
                var halves = new ushort[Count];
                file.Read("a", halves);
                Assert.True(halves.Select((h, i) => h == PatternHalf(i)).All(same => same));
            }
            else
            {
                var floats = new float[Count];
                file.Read("b", floats);
                Assert.True(floats.Select((f, i) => f == i).All(same => same));
            }
        });

        // Mapped pages would count in the resident set.
        if (OperatingSystem.IsLinux())
        {
            Assert.DoesNotContain(File.ReadLines("/proc/self/maps"), line => line.EndsWith(path, StringComparison.Ordinal));
        }

        static ushort PatternHalf(int i) => (ushort)(i * 31);
    }

    /// <summary>Every positive fp16 number and the midpoint to the next, both signs; beyond the largest too.</summary>
    private static IEnumerable<double> Neighbours() =>
        from bits in Enumerable.Range(0, 0x7c00)
        let low = (double)BitConverter.UInt16BitsToHalf((ushort)bits)
        let high = bits == 0x7bff ? 65536 : (double)BitConverter.UInt16BitsToHalf((ushort)(bits + 1))
        from value in new[] { low, (low + high) / 2 }
        from sign in new[] { 1, -1 }
        select sign * value;

    /// <summary>Nearest-even rounding to 11 significant bits and steps of at least 2^-24, by the definition.</summary>
    private static Half NearestHalf(double value)
    {
        if (!double.IsFinite(value) || value == 0)
        {
            return (Half)value;
        }

        var step = Math.Pow(2, Math.Max(Math.ILogB(value) - 10, -24));
        var rounded = Math.Round(value / step, MidpointRounding.ToEven) * step;
        return Math.Abs(rounded) >= 65536 ? (value < 0 ? Half.NegativeInfinity : Half.PositiveInfinity)
            : rounded == 0 && value < 0 ? Half.NegativeZero : (Half)rounded;
    }

    /// <summary>An fp8 pattern by the definition (Micikevicius et al. 2022, arXiv:2209.05433).</summary>
    private static double Number(byte bits, int fractionBits, int bias, bool finiteOnly)
    {
        var (ones, fraction) = ((1 << (7 - fractionBits)) - 1, bits & ((1 << fractionBits) - 1));
        var (sign, exponent) = (bits < 0x80 ? 1.0 : -1.0, (bits >> fractionBits) & ones);
        var part = fraction / Math.Pow(2, fractionBits);
        return exponent == ones && !finiteOnly ? (fraction == 0 ? sign / 0 : double.NaN)
            : (bits & 0x7f) == 0x7f ? double.NaN
            : sign * (exponent == 0 ? part * Math.Pow(2, 1 - bias) : (1 + part) * Math.Pow(2, exponent - bias));
    }

    private static void Check(int count, Func<int, float> expected, Func<int, float> actual)
    {
        for (var i = 0; i < count; i++)
        {
            var (e, a) = (expected(i), actual(i));
            Assert.True(float.IsNaN(e) ? float.IsNaN(a) : BitConverter.SingleToUInt32Bits(e) == BitConverter.SingleToUInt32Bits(a), $"{i}: {e} {a}");
        }
    }

    private static void CheckHalf(int count, Func<int, Half> expected, ushort[] actual)
    {
        for (var i = 0; i < count; i++)
        {
            var (e, a) = (expected(i), BitConverter.UInt16BitsToHalf(actual[i]));
            Assert.True(Half.IsNaN(e) ? Half.IsNaN(a) : BitConverter.HalfToUInt16Bits(e) == actual[i], $"{i}: {e} {a}");
        }
    }

    private (float[] Single, ushort[] Half) ReadBoth<T>(string dtype, T[] values) where T : unmanaged, INumber<T>
    {
        var bytes = MemoryMarshal.AsBytes<T>(values).ToArray();
        var path = files.WriteSafetensors(
            "values.safetensors", $$$"""{"t":{"dtype":"{{{dtype}}}","shape":[{{{values.Length}}}],"data_offsets":[0,{{{bytes.Length}}}]}}""", bytes);
        using var file = SafetensorsFile.Open(path);
        var (single, half) = (new float[values.Length], new ushort[values.Length]);
        file.Read("t", single);
        file.Read("t", half);
        return (single, half);
    }
}
