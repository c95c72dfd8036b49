using System.Numerics;
using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>
/// Weights from a hash of their names. Element i of a tensor is fp16(a u + b), with u in [-1, 1) from output i of splitmix64
/// (Steele et al. 2014) seeded with FNV-1a of <c>salt:model:component:name</c>, and (a, b) by the kind of tensor, so that activations
/// keep the size that they have in a trained model. Any language can make the same numbers.
/// </summary>
internal sealed class SyntheticWeights(string salt, string model, string component, IReadOnlyList<TensorInfo> declared) : IWeightSource
{
    private const ulong Golden = 0x9e3779b97f4a7c15;

    /// <summary>Values that one task makes.</summary>
    private const int Chunk = 1 << 16;

    public string Description => $"synthetic:{model} {DiffusersComponent}";

    public IReadOnlyDictionary<string, TensorInfo> Tensors { get; } =
        declared.ToDictionary(t => t.Name, t => t with { Type = TensorType.F16 });

    private string DiffusersComponent => component == "te" ? "text_encoder" : component;

    public unsafe void Read(string name, Span<ushort> destination)
    {
        var (seed, a, b) = Parameters(name, destination.Length);
        var length = destination.Length;
        fixed (ushort* pointer = destination)
        {
            var address = (nint)pointer;
            ForChunks(length, (start, count) => Fill(seed, start, a, b, new Span<ushort>((ushort*)address + start, count)));
        }
    }

    public unsafe void Read(string name, Span<float> destination)
    {
        var (seed, a, b) = Parameters(name, destination.Length);
        var length = destination.Length;
        fixed (float* pointer = destination)
        {
            var address = (nint)pointer;
            ForChunks(length, (start, count) => Fill(seed, start, a, b, new Span<float>((float*)address + start, count)));
        }
    }

    public void Dispose()
    {
    }

    /// <summary>FNV-1a, 64 bit, of the text's UTF-8 bytes.</summary>
    public static ulong Fnv1a(string text)
    {
        var hash = 0xcbf29ce484222325;
        foreach (var octet in Encoding.UTF8.GetBytes(text))
        {
            hash = (hash ^ octet) * 0x100000001b3;
        }

        return hash;
    }

    /// <summary>Factor and offset of a tensor's values.</summary>
    public static (double A, double B) ScaleOf(TensorInfo tensor)
    {
        var name = tensor.Name;
        if (name.EndsWith(".bias", StringComparison.Ordinal))
        {
            return (0.08, 0);
        }

        if (name.Contains("norm", StringComparison.Ordinal))
        {
            return (0.2, 1);
        }

        if (name.EndsWith("token_embedding.weight", StringComparison.Ordinal))
        {
            return (0.7, 0);
        }

        if (name.EndsWith("position_embedding.weight", StringComparison.Ordinal))
        {
            return (0.5, 0);
        }

        string[] sharp = ["to_q.", "to_k.", "q_proj.", "k_proj."];
        var gain = sharp.Any(s => name.Contains(s, StringComparison.Ordinal)) ? 1.5
            : name.Contains("attn2.to_out", StringComparison.Ordinal) ? 0.6 : 1;
        var fanIn = tensor.Shape.Skip(1).Aggregate(1L, (x, y) => x * y);
        return (gain * Math.Sqrt(3.0 / fanIn), 0);
    }

    /// <summary>Bit patterns of the elements from <paramref name="start"/>; |a| + |b| must be below fp16's largest number.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Fill(ulong seed, long start, double a, double b, Span<ushort> destination)
    {
        var lanes = Vector<ulong>.Count;
        var state = new Vector<ulong>(seed + (((ulong)start + 1) * Golden)) + (Vector<ulong>.Indices * Golden);
        var step = new Vector<ulong>((ulong)lanes * Golden);
        var (factor, offset) = (new Vector<double>(a), new Vector<double>(b));
        Span<ushort> last = stackalloc ushort[Vector<ushort>.Count];
        for (var i = 0; i < destination.Length; i += Vector<ushort>.Count)
        {
            // Four vectors of 64-bit lanes narrow to one of 16-bit lanes.
            var first = Halves(state, factor, offset);
            var second = Halves(state += step, factor, offset);
            var third = Halves(state += step, factor, offset);
            var fourth = Halves(state += step, factor, offset);
            state += step;
            var values = Vector.Narrow(Vector.Narrow(first, second), Vector.Narrow(third, fourth));
            if (destination.Length - i >= Vector<ushort>.Count)
            {
                values.CopyTo(destination[i..]);
            }
            else
            {
                values.CopyTo(last);
                last[..(destination.Length - i)].CopyTo(destination[i..]);
            }
        }
    }

    private static void Fill(ulong seed, long start, double a, double b, Span<float> destination)
    {
        Span<ushort> block = stackalloc ushort[2048];
        for (var i = 0; i < destination.Length; i += block.Length)
        {
            var part = block[..Math.Min(block.Length, destination.Length - i)];
            Fill(seed, start + i, a, b, part);
            TensorPrimitives.ConvertToSingle(MemoryMarshal.Cast<ushort, Half>(part), destination.Slice(i, part.Length));
        }
    }

    /// <summary>fp16 bit patterns of a u + b in 64-bit lanes; the states have the multiples of splitmix64's constant in them.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector<ulong> Halves(Vector<ulong> z, Vector<double> a, Vector<double> b)
    {
        z = (z ^ (z >>> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >>> 27)) * 0x94d049bb133111eb;
        z ^= z >>> 31;

        // 24 bits behind the exponent of 2^52 are the number 2^52 + bits; then u = bits * 2^-23 - 1, all of it exact.
        var bits = Vector.AsVectorDouble((z >>> 40) | new Vector<ulong>(0x4330000000000000)) - new Vector<double>(4503599627370496);
        var u = (bits * (1.0 / 8388608)) - Vector<double>.One;

        // The specification rounds the product and the sum: no fused multiply-add.
        return Round16((a * u) + b);
    }

    /// <summary>
    /// fp64 to fp16 bits with one rounding, to nearest even. Normal numbers: the exponent's bias becomes 15, and adding half of the
    /// last kept bit's weight, less one unless that bit is set, rounds the 42 dropped bits. Below 2^-14 the fp64 adder rounds to the
    /// fixed step of 2^-24 that the last bit of a number at 2^28 has.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector<ulong> Round16(Vector<double> value)
    {
        var bits = Vector.AsVectorUInt64(value);
        var magnitude = bits & new Vector<ulong>(0x7fffffffffffffff);
        var normal = (magnitude - new Vector<ulong>(1008UL << 52) + new Vector<ulong>((1UL << 41) - 1)
            + ((magnitude >>> 42) & Vector<ulong>.One)) >>> 42;
        var subnormal = Vector.AsVectorUInt64(Vector.AsVectorDouble(magnitude) + new Vector<double>(1 << 28)) & new Vector<ulong>(0xfff);
        var isSubnormal = Vector.LessThan(Vector.AsVectorDouble(magnitude), new Vector<double>(1.0 / 16384));
        return Vector.ConditionalSelect(Vector.AsVectorUInt64(isSubnormal), subnormal, normal)
            | ((bits >>> 48) & new Vector<ulong>(0x8000));
    }

    private static void ForChunks(int length, Action<int, int> fill)
    {
        if (length <= Chunk)
        {
            fill(0, length);
        }
        else
        {
            Parallel.For(0, (length + Chunk - 1) / Chunk, c => fill(c * Chunk, Math.Min(Chunk, length - (c * Chunk))));
        }
    }

    private (ulong Seed, double A, double B) Parameters(string name, int length)
    {
        var (a, b) = ScaleOf(WeightCheck.Readable(this, name, length));
        return (Fnv1a($"{salt}:{model}:{component}:{name}"), a, b);
    }
}
