using System.Runtime.CompilerServices;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Pointwise;

/// <summary>One element of each operation on latents and pictures: what all devices compute, however they share elements out.</summary>
internal static class LatentElements<T, TFormat>
    where T : unmanaged
    where TFormat : struct, IFormat<T>
{
    /// <summary>Writes latent * scale, rounded to the activations' type, Copies times.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scale(ConversionArguments<T> a, int i)
    {
        var to = a.Offset + ((long)(i / a.Channels) * a.Pitch) + (i % a.Channels);
        for (var copy = 0; copy < a.Copies; copy++)
        {
            default(TFormat).Store(a.Arena, to + ((long)copy * (a.Count / a.Channels) * a.Pitch), a.Latent[i] * a.Scale);
        }
    }

    /// <summary>round(clamp(x / 2 + 0.5, 0, 1) * 255) as bytes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void ToBytes(ConversionArguments<T> a, int i)
    {
        var value = ILGPU.IntrinsicMath.Clamp((default(TFormat).Load(a.Arena, a.Offset + i) * 0.5f) + 0.5f, 0f, 1f);
        a.Bytes[i] = (byte)(int)((value * 255f) + 0.5f);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Update(LatentUpdateArguments<T> a, int i)
    {
        var model = default(TFormat).Load(a.Arena, a.Output + i);
        if (a.Guided != 0)
        {
            model += a.Guidance * (default(TFormat).Load(a.Arena, a.Output + a.Count + i) - model);
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

    /// <summary>Where the mask is 0, the known latent under noise takes the latent's place; between 0 and 1 they are mixed.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Blend(LatentBlendArguments a, int i)
    {
        var mask = a.Mask[i / a.Channels % a.Pixels];
        var known = (a.Signal * a.Known[i]) + (a.NoiseFactor * a.Noise[i]);
        a.Latent[i] = ((1f - mask) * known) + (mask * a.Latent[i]);
    }
}
