using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Devices;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>Devices that have drivers, each opened once per process, when it is first asked for, and closed by <see cref="DeviceFixture"/>.</summary>
internal static class OpenDevices
{
    private static readonly Dictionary<string, DeviceSession> Sessions = [];

    public static DeviceSession Get(ComputeDevice device)
    {
        if (!Sessions.TryGetValue(device.Id, out var session))
        {
            Sessions.Add(device.Id, session = BackendProfile.Open(device));
        }

        return session;
    }

    /// <summary>Closes what was opened.</summary>
    /// <returns>Buffers that were left alive.</returns>
    public static int CloseAll()
    {
        var alive = Sessions.Values.Sum(s => s.LiveBuffers);
        foreach (var session in Sessions.Values)
        {
            session.Dispose();
        }

        Sessions.Clear();
        return alive;
    }
}
