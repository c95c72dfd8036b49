using System.Runtime.CompilerServices;
using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Pointwise;

/// <summary>
/// One step of a sampler (see Sampling's SamplingStep): guidance and a linear combination of latent, history and noise, all in fp32.
/// </summary>
internal struct LatentUpdateArguments<T> where T : unmanaged
{
    /// <summary>Holds the model's output: Count values without the prompt, then Count values with it; the latter alone where Guided is 0.</summary>
    public ArrayView<T> Arena;
    public ArrayView<float> Latent;
    public ArrayView<float> Saved;
    public ArrayView<float> Noise;

    /// <summary>The history's slots, Count values each.</summary>
    public ArrayView<float> History;
    public long Output;
    public int Count;
    public int Guided;
    public float Guidance;
    public float DerivedFromLatent;
    public float DerivedFromModel;
    public int Save;
    public float LatentFactor;
    public float SavedFactor;
    public float NoiseFactor;

    /// <summary>Factors of this step's value and of the three before it, newest first, and the slots they lie in.</summary>
    public float History0;
    public float History1;
    public float History2;
    public float History3;
    public int Slot0;
    public int Slot1;
    public int Slot2;
    public int Slot3;
}

/// <summary>Keeps a part of latents as it is known.</summary>
internal struct LatentBlendArguments
{
    public ArrayView<float> Latent;
    public ArrayView<float> Known;
    public ArrayView<float> Noise;

    /// <summary>One value for each of the pixels of a picture.</summary>
    public ArrayView<float> Mask;
    public int Count;
    public int Channels;
    public int Pixels;
    public float Signal;
    public float NoiseFactor;
}

/// <summary>Conversions between latents or pictures and activations.</summary>
internal struct ConversionArguments<T> where T : unmanaged
{
    public ArrayView<T> Arena;
    public ArrayView<float> Latent;
    public ArrayView<byte> Bytes;

    /// <summary>Where the activations lie in the arena.</summary>
    public long Offset;
    public int Count;

    /// <summary>Channels of the latent, and values from one pixel of the activations to the next: more where the model reads other channels beside it.</summary>
    public int Channels;
    public int Pitch;

    /// <summary>How many times all of the latent is written: with guidance twice.</summary>
    public int Copies;
    public float Scale;
}

/// <summary>The kernels on latents and pictures between the models, for devices whose groups have one work-item.</summary>
internal static class LatentKernels<T, TLeaf>
    where T : unmanaged
    where TLeaf : struct, ILeaf<T>
{
    /// <summary>Values that a group takes at a time.</summary>
    private const int TileValues = 2048;

    /// <summary>Writes latent * scale, rounded to the activations' type, Copies times.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Scale(ConversionArguments<T> a, ArrayView<float> scratch, ArrayView<int> counter)
    {
        for (var tile = default(TLeaf).NextTile(counter, -1); tile < Tiles(a.Count); tile = default(TLeaf).NextTile(counter, tile))
        {
            for (var i = tile * TileValues; i < IntrinsicMath.Min(a.Count, (tile + 1) * TileValues); i++)
            {
                var to = a.Offset + ((long)(i / a.Channels) * a.Pitch) + (i % a.Channels);
                for (var copy = 0; copy < a.Copies; copy++)
                {
                    default(TLeaf).Store(a.Arena, to + ((long)copy * (a.Count / a.Channels) * a.Pitch), a.Latent[i] * a.Scale);
                }
            }
        }
    }

    /// <summary>round(clamp(x / 2 + 0.5, 0, 1) * 255) as bytes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void ToBytes(ConversionArguments<T> a, ArrayView<float> scratch, ArrayView<int> counter)
    {
        for (var tile = default(TLeaf).NextTile(counter, -1); tile < Tiles(a.Count); tile = default(TLeaf).NextTile(counter, tile))
        {
            for (var i = tile * TileValues; i < IntrinsicMath.Min(a.Count, (tile + 1) * TileValues); i++)
            {
                var value = IntrinsicMath.Clamp((default(TLeaf).Load(a.Arena, a.Offset + i) * 0.5f) + 0.5f, 0f, 1f);
                a.Bytes[i] = (byte)(int)((value * 255f) + 0.5f);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Update(LatentUpdateArguments<T> a, ArrayView<float> scratch, ArrayView<int> counter)
    {
        for (var tile = default(TLeaf).NextTile(counter, -1); tile < Tiles(a.Count); tile = default(TLeaf).NextTile(counter, tile))
        {
            for (var i = tile * TileValues; i < IntrinsicMath.Min(a.Count, (tile + 1) * TileValues); i++)
            {
                var model = default(TLeaf).Load(a.Arena, a.Output + i);
                if (a.Guided != 0)
                {
                    model += a.Guidance * (default(TLeaf).Load(a.Arena, a.Output + a.Count + i) - model);
                }

                var x = a.Latent[i];
                var derived = (a.DerivedFromLatent * x) + (a.DerivedFromModel * model);
                if (a.Save != 0)
                {
                    a.Saved[i] = x;
                }

                // A factor of zero must not let through what was never written.
                var next = (a.LatentFactor * x) + (a.History0 * derived);
                next += a.SavedFactor != 0 ? a.SavedFactor * a.Saved[i] : 0;
                next += a.History1 != 0 ? a.History1 * a.History[(a.Slot1 * a.Count) + i] : 0;
                next += a.History2 != 0 ? a.History2 * a.History[(a.Slot2 * a.Count) + i] : 0;
                next += a.History3 != 0 ? a.History3 * a.History[(a.Slot3 * a.Count) + i] : 0;
                next += a.NoiseFactor != 0 ? a.NoiseFactor * a.Noise[i] : 0;
                a.History[(a.Slot0 * a.Count) + i] = derived;
                a.Latent[i] = next;
            }
        }
    }

    /// <summary>Where the mask is 0, the known latent under noise takes the latent's place; between 0 and 1 they are mixed.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Blend(LatentBlendArguments a, ArrayView<float> scratch, ArrayView<int> counter)
    {
        for (var tile = default(TLeaf).NextTile(counter, -1); tile < Tiles(a.Count); tile = default(TLeaf).NextTile(counter, tile))
        {
            for (var i = tile * TileValues; i < IntrinsicMath.Min(a.Count, (tile + 1) * TileValues); i++)
            {
                var mask = a.Mask[i / a.Channels % a.Pixels];
                var known = (a.Signal * a.Known[i]) + (a.NoiseFactor * a.Noise[i]);
                a.Latent[i] = ((1f - mask) * known) + (mask * a.Latent[i]);
            }
        }
    }

    private static int Tiles(int count) => (count + TileValues - 1) / TileValues;
}
