using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Kernels;
using StableDiffusion.Ilgpu.Kernels.Attention;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>
/// An attention in fp16 whose tensors lie apart from each other in one arena, each with a pitch of its own. What is between them is NaN, so
/// that reading it shows; writing it is found out.
/// </summary>
internal sealed record AttentionRun(int Items, int Heads, int HeadSize, int Queries, int Keys)
{
    private const ushort Poison = 0x7E5A;

    public bool Causal { get; init; }

    /// <summary>Values more than a row has, in the order query, key, value, target.</summary>
    public (int Query, int Key, int Value, int Target) Gaps { get; init; } = (8, 24, 40, 16);

    /// <summary>
    /// Queries and keys are whole numbers, up to 48, so that large logits are exact and their differences are as well.
    /// </summary>
    public bool LargeLogits { get; init; }

    /// <summary>
    /// Whole numbers as above, each times 1024, and an item's keys are all the same. The last bit of a logit's product with the scale stands for up to 64, so that weights
    /// leave fp16's range unless logits were subtracted before.
    /// </summary>
    public bool HugeLogits { get; init; }

    /// <summary>
    /// Each key is larger than the one before, the 130th 17 times as large as the first: some queries' logits outgrow those of the first keys by far.
    /// </summary>
    public bool RisingLogits { get; init; }

    private int Channels => Heads * HeadSize;

    public override string ToString() =>
        $"{(Causal ? "causal " : "")}{(LargeLogits ? "large logits " : "")}{(HugeLogits ? "huge logits " : "")}{(RisingLogits ? "rising logits " : "")}{Items} x {Heads} heads of {HeadSize}, {Queries} on {Keys}";

    /// <returns>The outputs [item, query, channel].</returns>
    public ushort[] Run(Accelerator accelerator, KernelSet<ushort> kernels)
    {
        var arguments = new AttentionArguments<ushort>
        {
            QueryPitch = Channels + Gaps.Query,
            KeyPitch = Channels + Gaps.Key,
            ValuePitch = Channels + Gaps.Value,
            TargetPitch = Channels + Gaps.Target,
            Items = Items,
            Heads = Heads,
            HeadSize = HeadSize,
            Queries = Queries,
            Keys = Keys,
            Causal = Causal ? 1 : 0,
            Scale = (float)(Math.Log2(Math.E) / Math.Sqrt(HeadSize)),
        };
        arguments.Query = 64;
        arguments.Key = arguments.Query + ((long)Items * Queries * arguments.QueryPitch) + 8;
        arguments.Value = arguments.Key + ((long)Items * Keys * arguments.KeyPitch) + 16;
        arguments.Target = arguments.Value + ((long)Items * Keys * arguments.ValuePitch) + 24;
        var arena = new ushort[arguments.Target + ((long)Items * Queries * arguments.TargetPitch) + 64];
        arena.AsSpan().Fill(Poison);
        Fill(arena, arguments.Query, arguments.QueryPitch, Values(Queries, 1));
        Fill(arena, arguments.Key, arguments.KeyPitch, Values(Keys, 2));
        Fill(arena, arguments.Value, arguments.ValuePitch, Values(Keys, 3));

        using var stream = accelerator.CreateStream();
        using var buffer = accelerator.Allocate1D(arena);
        arguments.Arena = buffer.View;
        kernels.AttentionFor(arguments)(stream, arguments, default, default);
        stream.Synchronize();
        var after = buffer.GetAsArray1D();

        var result = new ushort[Items * Queries * Channels];
        for (var row = 0; row < Items * Queries; row++)
        {
            var at = after.AsSpan((int)(arguments.Target + ((long)row * arguments.TargetPitch)), Channels);
            at.CopyTo(result.AsSpan(row * Channels));
            at.Fill(Poison);
        }

        var changed = after.AsSpan().CommonPrefixLength(arena);
        return changed == arena.Length ? result : throw new InvalidOperationException($"{this}: element {changed} of {arena.Length} was written");
    }

    /// <summary>The largest difference from what fp64 gives.</summary>
    public double Error(ReadOnlySpan<ushort> result)
    {
        double[] q = [.. Values(Queries, 1).Select(x => (double)x)], k = [.. Values(Keys, 2).Select(x => (double)x)], v = [.. Values(Keys, 3).Select(x => (double)x)];
        var largest = 0.0;
        var weights = new double[Keys];
        for (var row = 0; row < Items * Queries; row++)
        {
            var firstKey = row / Queries * Keys;
            var keys = Causal ? (row % Queries) + 1 : Keys;
            for (var channel = 0; channel < Channels; channel++)
            {
                var first = channel / HeadSize * HeadSize;
                for (var key = 0; key < keys && channel == first; key++)
                {
                    var logit = 0.0;
                    for (var i = first; i < first + HeadSize; i++)
                    {
                        logit += q[(row * Channels) + i] * k[((firstKey + key) * Channels) + i];
                    }

                    weights[key] = logit / Math.Sqrt(HeadSize);
                }

                if (channel == first)
                {
                    var top = weights.AsSpan(0, keys).ToArray().Max();
                    for (var key = 0; key < keys; key++)
                    {
                        weights[key] = Math.Exp(weights[key] - top);
                    }
                }

                var (sum, total) = (0.0, 0.0);
                for (var key = 0; key < keys; key++)
                {
                    (sum, total) = (sum + (weights[key] * v[((firstKey + key) * Channels) + channel]), total + weights[key]);
                }

                var difference = Math.Abs((sum / total) - (double)BitConverter.UInt16BitsToHalf(result[(row * Channels) + channel]));
                largest = difference <= largest ? largest : difference;
            }
        }

        return largest;
    }

    private void Fill(ushort[] arena, long at, int pitch, Half[] values)
    {
        for (var i = 0; i < values.Length; i++)
        {
            arena[at + ((long)(i / Channels) * pitch) + (i % Channels)] = BitConverter.HalfToUInt16Bits(values[i]);
        }
    }

    /// <summary>
    /// About normal, of a size up to 3, and the same for an item whatever the others are.
    /// </summary>
    /// <param name="rows">Of each item.</param>
    /// <param name="tensor">1 for the query, 2 for the key, 3 for the value.</param>
    private Half[] Values(int rows, int tensor) =>
    [
        .. Enumerable.Range(0, Items).SelectMany(item =>
        {
            var random = new Random((item * 16) + tensor);
            var values = Enumerable.Range(0, rows * Channels).Select(i =>
            {
                var value = (random.NextDouble() + random.NextDouble() + random.NextDouble() - 1.5) * 2;
                value *= RisingLogits && tensor == 2 ? 1 + (i / Channels / 8.0) : 1;
                return (Half)((LargeLogits || HugeLogits) && tensor < 3 ? Math.Round(value * 16) * (HugeLogits ? 1024 : 1) : value);
            }).ToArray();
            return HugeLogits && tensor == 2 ? values.Select((_, i) => values[i % Channels]) : values;
        }),
    ];
}
