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

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Scale(ConversionArguments<T> a, ArrayView<float> scratch, ArrayView<int> counter)
    {
        for (var tile = default(TLeaf).NextTile(counter, -1); tile < Tiles(a.Count); tile = default(TLeaf).NextTile(counter, tile))
        {
            for (var i = tile * TileValues; i < IntrinsicMath.Min(a.Count, (tile + 1) * TileValues); i++)
            {
                LatentElements<T, TLeaf>.Scale(a, i);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void ToBytes(ConversionArguments<T> a, ArrayView<float> scratch, ArrayView<int> counter)
    {
        for (var tile = default(TLeaf).NextTile(counter, -1); tile < Tiles(a.Count); tile = default(TLeaf).NextTile(counter, tile))
        {
            for (var i = tile * TileValues; i < IntrinsicMath.Min(a.Count, (tile + 1) * TileValues); i++)
            {
                LatentElements<T, TLeaf>.ToBytes(a, i);
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
                LatentElements<T, TLeaf>.Update(a, i);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Blend(LatentBlendArguments a, ArrayView<float> scratch, ArrayView<int> counter)
    {
        for (var tile = default(TLeaf).NextTile(counter, -1); tile < Tiles(a.Count); tile = default(TLeaf).NextTile(counter, tile))
        {
            for (var i = tile * TileValues; i < IntrinsicMath.Min(a.Count, (tile + 1) * TileValues); i++)
            {
                LatentElements<T, TLeaf>.Blend(a, i);
            }
        }
    }

    private static int Tiles(int count) => (count + TileValues - 1) / TileValues;
}
